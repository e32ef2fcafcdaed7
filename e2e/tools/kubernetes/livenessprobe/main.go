// Command livenessprobe answers kubelet's HTTP probe with what the driver says to Probe, in place of the sidecar of
// that name, whose module is not to be had everywhere: with its flags.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	address := flag.String("csi-address", "/run/csi/socket", "socket of the driver")
	healthPort := flag.String("health-port", "9808", "port of /healthz")
	httpEndpoint := flag.String("http-endpoint", "", "address of /healthz, instead of the port")
	timeout := flag.Duration("probe-timeout", time.Second, "how long the driver may take")
	flag.Int("v", 0, "taken, without a meaning here")
	flag.Parse()

	connection, err := grpc.NewClient("unix://"+*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	identity := csi.NewIdentityClient(connection)
	http.HandleFunc("/healthz", func(response http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), *timeout)
		defer cancel()
		answer, err := identity.Probe(ctx, &csi.ProbeRequest{})
		switch {
		case err != nil:
			log.Printf("the driver does not answer: %v", err)
			http.Error(response, err.Error(), http.StatusInternalServerError)
		case answer.GetReady() != nil && !answer.GetReady().GetValue():
			http.Error(response, "the driver is not ready", http.StatusInternalServerError)
		}
	})
	if *httpEndpoint == "" {
		*httpEndpoint = net.JoinHostPort("", *healthPort)
	}
	log.Fatal(http.ListenAndServe(*httpEndpoint, nil))
}
