// The Go library go-spiffe, as a program that a test can drive.
//
// Prints one event a line, like its fellows in Rust and Python: `svid ID SERIAL`, `listening ADDRESS`, `peer ID SERIAL`,
// `reply TEXT`, `refused WHY`. Serial numbers are hexadecimal.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const usage = "usage: interop-go fetch | watch | token --audience A | check --audience A --token T | serve --port PORT --peer-id ID | dial --addr ADDRESS --peer-id ID | bundle-serve --domain NAME | bundle-fetch --domain NAME --url URL [--endpoint-id ID] --file FILE | broker --socket unix:PATH --peer-id ID --pid PID"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet("interop-go", flag.ContinueOnError)
	port := flags.Uint("port", 0, "TCP port; 0: any")
	addr := flags.String("addr", "", "address of the server")
	peer := flags.String("peer-id", "", "SPIFFE ID that the peer must have")
	audience := flags.String("audience", "", "audience of a JWT-SVID")
	token := flags.String("token", "", "JWT-SVID to check")
	domain := flags.String("domain", "", "trust domain of a bundle")
	url := flags.String("url", "", "bundle endpoint")
	endpoint := flags.String("endpoint-id", "", "SPIFFE ID of the bundle endpoint; without it: its web certificate")
	file := flags.String("file", "", "what the bundle endpoint is believed by")
	socket := flags.String("socket", "", "where the Broker API is served")
	pid := flags.Int("pid", 0, "the process to act for")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	switch arguments[0] {
	case "fetch":
		svid, err := workloadapi.FetchX509SVID(ctx)
		if err != nil {
			return err
		}
		show(svid)
		return nil
	case "watch":
		return watch(ctx)
	case "token":
		svid, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: *audience})
		if err != nil {
			return err
		}
		fmt.Println("reply", svid.Marshal())
		return nil
	case "check":
		return check(ctx, *audience, *token)
	case "serve":
		return serve(ctx, *port, *peer)
	case "dial":
		return dial(ctx, *addr, *peer)
	case "bundle-serve":
		return serveBundle(*domain)
	case "bundle-fetch":
		return fetchBundle(ctx, *domain, *url, *endpoint, *file)
	case "broker":
		return act(ctx, *socket, *peer, *pid)
	default:
		return errors.New(usage)
	}
}

// Checks a JWT-SVID with the keys that the Workload API gives, then has the Workload API check it.
func check(ctx context.Context, audience, token string) error {
	bundles, err := workloadapi.FetchJWTBundles(ctx)
	if err != nil {
		return err
	}
	checked(jwtsvid.ParseAndValidate(token, bundles, []string{audience}))
	checked(workloadapi.ValidateJWTSVID(ctx, token, audience))
	return nil
}

func checked(svid *jwtsvid.SVID, err error) {
	if err != nil {
		fmt.Println("refused", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println("reply", svid.ID)
}

func watch(ctx context.Context) error {
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	for {
		svid, err := source.GetX509SVID()
		if err != nil {
			return err
		}
		show(svid)
		if err := source.WaitUntilUpdated(ctx); err != nil {
			return err
		}
	}
}

func serve(ctx context.Context, port uint, peer string) error {
	source, authorizer, err := prepare(ctx, peer)
	if err != nil {
		return err
	}
	defer source.Close()
	mode := spiffetls.MTLSServerWithSource(authorizer, source)
	listener, err := spiffetls.ListenWithMode(ctx, "tcp4", fmt.Sprintf("0.0.0.0:%d", port), mode)
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Println("listening", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		if err := answer(connection); err != nil {
			fmt.Println("refused", err)
		}
	}
}

// Reads a line, and writes one that says whom it came from.
func answer(connection net.Conn) error {
	defer connection.Close()
	if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
		return err
	}
	id, err := showPeer(connection)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(connection, "hello %s\n", id)
	return err
}

func dial(ctx context.Context, addr, peer string) error {
	source, authorizer, err := prepare(ctx, peer)
	if err != nil {
		return err
	}
	defer source.Close()
	connection, err := spiffetls.DialWithMode(ctx, "tcp", addr, spiffetls.MTLSClientWithSource(authorizer, source))
	if err != nil {
		return err
	}
	defer connection.Close()
	if _, err := fmt.Fprintln(connection, "hello"); err != nil {
		return err
	}
	if _, err := showPeer(connection); err != nil {
		return err
	}
	reply, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	fmt.Print("reply ", reply)
	return nil
}

func prepare(ctx context.Context, peer string) (*workloadapi.X509Source, tlsconfig.Authorizer, error) {
	id, err := spiffeid.FromString(peer)
	if err != nil {
		return nil, nil, err
	}
	source, err := workloadapi.NewX509Source(ctx)
	return source, tlsconfig.AuthorizeID(id), err
}

func show(svid *x509svid.SVID) {
	fmt.Println("svid", svid.ID, serial(svid.Certificates[0]))
}

func showPeer(connection net.Conn) (spiffeid.ID, error) {
	id, err := spiffetls.PeerIDFromConn(connection)
	if err != nil {
		return id, err
	}
	stateful, ok := connection.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return id, errors.New("the connection has no TLS state")
	}
	fmt.Println("peer", id, serial(stateful.ConnectionState().PeerCertificates[0]))
	return id, nil
}

func serial(certificate *x509.Certificate) string {
	return certificate.SerialNumber.Text(16)
}
