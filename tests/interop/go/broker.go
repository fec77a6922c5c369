package main

import (
	"context"
	"fmt"

	broker "github.com/spiffe/go-spiffe/v2/exp/proto/spiffe/broker"
	"github.com/spiffe/go-spiffe/v2/spiffegrpc/grpccredentials"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// Acts for a process, over the Broker API of the agent that has this SPIFFE ID: prints each SVID of the process.
func act(ctx context.Context, socket, agent string, pid int) error {
	id, err := spiffeid.FromString(agent)
	if err != nil {
		return err
	}
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	credentials := grpccredentials.MTLSClientCredentials(source, source, tlsconfig.AuthorizeID(id))
	connection, err := grpc.NewClient(socket, grpc.WithTransportCredentials(credentials))
	if err != nil {
		return err
	}
	defer connection.Close()
	reference, err := anypb.New(&broker.WorkloadPIDReference{Pid: int32(pid)})
	if err != nil {
		return err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "broker.spiffe.io", "true")
	stream, err := broker.NewAPIClient(connection).SubscribeToX509SVID(ctx, &broker.SubscribeToX509SVIDRequest{
		Reference: &broker.WorkloadReference{Reference: reference},
	})
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			fmt.Println("refused", status.Code(err), status.Convert(err).Message())
			return nil
		}
		for _, granted := range response.Svids {
			svid, err := x509svid.ParseRaw(granted.X509Svid, granted.X509SvidKey)
			if err != nil {
				return err
			}
			show(svid)
		}
	}
}
