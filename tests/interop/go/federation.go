package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// A trust domain that publishes its bundle. Each time somebody has fetched it, it gets one more authority.
type publisher struct {
	lock   sync.Mutex
	bundle *spiffebundle.Bundle
}

func (p *publisher) GetBundleForTrustDomain(spiffeid.TrustDomain) (*spiffebundle.Bundle, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	published := p.bundle.Clone()
	authority, _, err := newAuthority(p.bundle.TrustDomain())
	if err != nil {
		return nil, err
	}
	p.bundle.AddX509Authority(authority)
	sequence, _ := p.bundle.SequenceNumber()
	p.bundle.SetSequenceNumber(sequence + 1)
	return published, nil
}

// Serves a bundle endpoint by the profile https_spiffe. Prints the first bundle, then where it listens.
func serveBundle(domain string) error {
	trustDomain, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return err
	}
	root, rootKey, err := newAuthority(trustDomain)
	if err != nil {
		return err
	}
	bundle := spiffebundle.FromX509Authorities(trustDomain, []*x509.Certificate{root})
	bundle.SetSequenceNumber(1)
	bundle.SetRefreshHint(time.Hour)
	first, err := bundle.Marshal()
	if err != nil {
		return err
	}
	id := spiffeid.RequireFromPath(trustDomain, "/bundle-endpoint")
	svid, err := newSVID(id, root, rootKey)
	if err != nil {
		return err
	}
	handler, err := federation.NewHandler(trustDomain, &publisher{bundle: bundle})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("reply", string(first))
	fmt.Println("listening", listener.Addr())
	return http.Serve(tls.NewListener(listener, tlsconfig.TLSServerConfig(svid)), handler)
}

// Fetches a bundle and prints its sequence number and how many authorities of each kind it has. Without an endpoint ID the server is
// believed by its web certificate, under the authorities in a file.
func fetchBundle(ctx context.Context, domain, address, endpoint, file string) error {
	trustDomain, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return err
	}
	option, err := belief(trustDomain, endpoint, file)
	if err != nil {
		return err
	}
	bundle, err := federation.FetchBundle(ctx, trustDomain, address, option)
	if err != nil {
		return err
	}
	sequence, _ := bundle.SequenceNumber()
	fmt.Println("reply", sequence, len(bundle.X509Authorities()), len(bundle.JWTAuthorities()))
	return nil
}

func belief(trustDomain spiffeid.TrustDomain, endpoint, file string) (federation.FetchOption, error) {
	if endpoint == "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in the file")
		}
		return federation.WithWebPKIRoots(roots), nil
	}
	id, err := spiffeid.FromString(endpoint)
	if err != nil {
		return nil, err
	}
	bundle, err := spiffebundle.Load(trustDomain, file)
	if err != nil {
		return nil, err
	}
	return federation.WithSPIFFEAuth(bundle.X509Bundle(), id), nil
}

func newAuthority(trustDomain spiffeid.TrustDomain) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	template := &x509.Certificate{
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain.Name()}},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := newCertificate(template, template, key, key)
	return certificate, key, err
}

func newSVID(id spiffeid.ID, root *x509.Certificate, rootKey *ecdsa.PrivateKey) (*x509svid.SVID, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{id.URL()},
	}
	leaf, err := newCertificate(template, root, key, rootKey)
	if err != nil {
		return nil, err
	}
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{leaf}, PrivateKey: key}, nil
}

func newCertificate(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Minute)
	template.NotAfter = time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
