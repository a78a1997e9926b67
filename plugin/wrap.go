package plugin

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	transferapi "github.com/containerd/containerd/api/services/transfer/v1"
	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/pkg/imageverifier"
	"github.com/containerd/containerd/v2/plugins"
	_ "github.com/containerd/containerd/v2/plugins/services/transfer" // registers what is wrapped
	_ "github.com/containerd/containerd/v2/plugins/transfer"          // likewise
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/containerd/typeurl/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/nestedoci/nested/config"
)

// wrap puts our own around what three of containerd's plugins make: the
// transfer service, its gRPC front, and the image verifiers. They are found
// among the registrations, whose order of initialisation stays as it is.
// Verifiers that are registered later are asked about members, too, whatever
// the settings.
func wrap(settings *atomic.Pointer[config.Plugin]) error {
	var service, front *plugin.Registration
	var verifiers []*plugin.Registration
	registry.Graph(func(r *plugin.Registration) bool {
		switch {
		case r.Type == plugins.TransferPlugin && r.ID == "local":
			service = r
		case r.Type == plugins.GRPCPlugin && r.ID == "transfer":
			front = r
		case r.Type == plugins.ImageVerifierPlugin:
			verifiers = append(verifiers, r)
		}
		return true // nothing is started here
	})
	if service == nil || front == nil {
		return fmt.Errorf("nested: this containerd registers no transfer service where it is expected (%s.local %t, %s.transfer %t); see docs/containerd.md",
			plugins.TransferPlugin, service != nil, plugins.GRPCPlugin, front != nil)
	}
	if !slices.Contains(service.Requires, plugins.MetadataPlugin) || !slices.Contains(service.Requires, plugins.LeasePlugin) {
		return fmt.Errorf("nested: containerd's transfer service requires %v: neither its content nor its leases can be had; see docs/containerd.md", service.Requires)
	}
	around(service, func(ic *plugin.InitContext, made any) (any, error) { return newService(ic, made, settings.Load) })
	around(front, newFront)
	for _, r := range verifiers {
		around(r, newVerifier)
	}
	return nil
}

// around has a plugin make what wrap makes of its own.
func around(r *plugin.Registration, wrap func(ic *plugin.InitContext, made any) (any, error)) {
	inner := r.InitFn
	r.InitFn = func(ic *plugin.InitContext) (any, error) {
		made, err := inner(ic)
		if err != nil {
			return nil, err
		}
		return wrap(ic, made)
	}
}

func unexpected(made any) error {
	return fmt.Errorf("nested: containerd made a %T; this build needs a newer nested, see docs/containerd.md", made)
}

func newService(ic *plugin.InitContext, made any, settings func() *config.Plugin) (any, error) {
	inner, ok := made.(transfer.Transferrer)
	if !ok {
		return nil, unexpected(made)
	}
	single, err := ic.GetSingle(plugins.MetadataPlugin)
	if err != nil {
		return nil, err
	}
	db, ok := single.(*metadata.DB)
	if !ok {
		return nil, unexpected(single)
	}
	if single, err = ic.GetSingle(plugins.LeasePlugin); err != nil {
		return nil, err
	}
	manager, ok := single.(leases.Manager)
	if !ok {
		return nil, unexpected(single)
	}
	return &service{Transferrer: inner, content: db.ContentStore(), leases: manager, settings: settings}, nil
}

// front hands the source of a transfer on as it came: containerd's own object
// has no way to tell its hosts directory.
type front struct{ transferapi.TransferServer }

func newFront(_ *plugin.InitContext, made any) (any, error) {
	inner, ok := made.(transferapi.TransferServer)
	if !ok {
		return nil, unexpected(made)
	}
	return front{inner}, nil
}

// Register is how containerd's gRPC server takes services.
func (f front) Register(server *grpc.Server) error {
	transferapi.RegisterTransferServer(server, f)
	return nil
}

// Transfer implements [transferapi.TransferServer].
func (f front) Transfer(ctx context.Context, request *transferapi.TransferRequest) (*emptypb.Empty, error) {
	var source transfertypes.OCIRegistry
	if request.Source != nil && typeurl.Is(request.Source, &source) {
		if err := typeurl.UnmarshalTo(request.Source, &source); err == nil { // otherwise containerd says what is wrong
			ctx = context.WithValue(ctx, sourceKey{}, &source)
		}
	}
	return f.TransferServer.Transfer(ctx, request)
}

// sourceKey is the key of the source of a transfer in its context.
type sourceKey struct{}

// verifier is an image verifier that may be asked about roots alone.
type verifier struct{ imageverifier.ImageVerifier }

func newVerifier(_ *plugin.InitContext, made any) (any, error) {
	inner, ok := made.(imageverifier.ImageVerifier)
	if !ok {
		return nil, unexpected(made)
	}
	return verifier{inner}, nil
}

// unverifiedKey marks the context of members that no verifier is asked about.
type unverifiedKey struct{}

// VerifyImage implements [imageverifier.ImageVerifier].
func (v verifier) VerifyImage(ctx context.Context, name string, desc ocispec.Descriptor) (*imageverifier.Judgement, error) {
	if ctx.Value(unverifiedKey{}) != nil {
		return &imageverifier.Judgement{OK: true, Reason: "a member, whose root was judged"}, nil
	}
	return v.ImageVerifier.VerifyImage(ctx, name, desc)
}
