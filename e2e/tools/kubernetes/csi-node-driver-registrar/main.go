// Command csi-node-driver-registrar tells kubelet of a CSI driver, in place of the sidecar of that name, whose module
// is not to be had everywhere: with its flags, by the protocol of kubelet's plugin registration.
package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registration answers kubelet, which finds the socket by itself.
type registration struct {
	registerapi.UnimplementedRegistrationServer
	name     string
	endpoint string
	refused  chan<- string
}

func (r *registration) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	log.Printf("kubelet asks for %s", r.name)
	return &registerapi.PluginInfo{
		Type: registerapi.CSIPlugin, Name: r.name, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registration) NotifyRegistrationStatus(
	_ context.Context, status *registerapi.RegistrationStatus,
) (*registerapi.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		r.refused <- status.Error
	}
	log.Printf("kubelet has registered %s: %t %s", r.name, status.PluginRegistered, status.Error)
	return &registerapi.RegistrationStatusResponse{}, nil
}

func main() {
	address := flag.String("csi-address", "/run/csi/socket", "socket of the driver")
	path := flag.String("kubelet-registration-path", "", "the same socket, as kubelet sees it")
	registrationDir := flag.String("plugin-registration-path", "/registration", "where kubelet looks for plugins")
	httpEndpoint := flag.String("http-endpoint", "", "address of /healthz")
	flag.Duration("timeout", 0, "taken, without a meaning here")
	flag.Int("v", 0, "taken, without a meaning here")
	flag.Parse()

	name := driverName(*address)
	socket := filepath.Join(*registrationDir, name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	refused := make(chan string, 1)
	server := grpc.NewServer()
	registerapi.RegisterRegistrationServer(server, &registration{name: name, endpoint: *path, refused: refused})
	go func() { log.Fatal(server.Serve(listener)) }()
	if *httpEndpoint != "" {
		http.HandleFunc("/healthz", func(response http.ResponseWriter, _ *http.Request) {
			if _, err := os.Stat(socket); err != nil {
				http.Error(response, err.Error(), http.StatusInternalServerError)
			}
		})
		go func() { log.Fatal(http.ListenAndServe(*httpEndpoint, nil)) }()
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case reason := <-refused:
		os.Remove(socket)
		log.Fatalf("kubelet refuses %s: %s", name, reason)
	case <-stop:
		os.Remove(socket)
	}
}

// driverName asks the driver until it answers.
func driverName(address string) string {
	connection, err := grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return info.GetName()
		}
		log.Printf("the driver at %s does not answer yet: %v", address, err)
	}
}
