package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	transferapi "github.com/containerd/containerd/api/services/transfer/v1"
	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/streaming"
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
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// wrap wraps what three of containerd's plugins make: the transfer service, its
// gRPC front, and the image verifiers. They are found among the registrations,
// whose order of initialisation does not change. Verifiers that are registered
// later see members, too, whatever the settings.
func wrap(current *atomic.Pointer[settings]) error {
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
		return fmt.Errorf("nested: containerd's transfer service requires %v: neither its content nor its leases are accessible; see docs/containerd.md", service.Requires)
	}
	around(service, func(ic *plugin.InitContext, made any) (any, error) { return newService(ic, made, current.Load) })
	around(front, func(ic *plugin.InitContext, made any) (any, error) { return newFront(ic, made, current.Load) })
	for _, r := range verifiers {
		around(r, newVerifier)
	}
	return nil
}

// around wraps what a plugin makes.
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

func newService(ic *plugin.InitContext, made any, settings func() *settings) (any, error) {
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
	verifiers := map[string]imageverifier.ImageVerifier{}
	registered, err := ic.GetByType(plugins.ImageVerifierPlugin)
	if err != nil && !errors.Is(err, plugin.ErrPluginNotFound) {
		return nil, err
	}
	for id, made := range registered {
		if verifiers[id], ok = made.(imageverifier.ImageVerifier); !ok {
			return nil, unexpected(made)
		}
	}
	return &service{Transferrer: inner, content: db.ContentStore(), leases: manager, verifiers: verifiers, settings: settings}, nil
}

// front passes on what containerd's own object for a source does not expose.
type front struct {
	transferapi.TransferServer
	streams  streaming.StreamGetter
	settings func() *settings
}

func newFront(ic *plugin.InitContext, made any, settings func() *settings) (any, error) {
	inner, ok := made.(transferapi.TransferServer)
	if !ok {
		return nil, unexpected(made)
	}
	manager, err := ic.GetByID(plugins.StreamingPlugin, "manager")
	if err != nil {
		return nil, err
	}
	streams, ok := manager.(streaming.StreamGetter)
	if !ok {
		return nil, unexpected(manager)
	}
	return front{inner, streams, settings}, nil
}

// Register is how containerd's gRPC server registers services.
func (f front) Register(server *grpc.Server) error {
	transferapi.RegisterTransferServer(server, f)
	return nil
}

// Transfer implements [transferapi.TransferServer].
func (f front) Transfer(ctx context.Context, request *transferapi.TransferRequest) (*emptypb.Empty, error) {
	if f.settings() == nil {
		return f.TransferServer.Transfer(ctx, request)
	}
	request = &transferapi.TransferRequest{Source: request.Source, Destination: request.Destination, Options: request.Options}
	for _, end := range []**anypb.Any{&request.Source, &request.Destination} {
		var registry transfertypes.OCIRegistry
		if *end == nil || !typeurl.Is(*end, &registry) || typeurl.UnmarshalTo(*end, &registry) != nil || registry.Resolver == nil {
			continue // containerd says what is wrong
		}
		ctx = context.WithValue(ctx, sentKey{}, &sent{
			hostDir: registry.Resolver.HostDir,
			scheme:  registry.Resolver.DefaultScheme,
			debug:   registry.Resolver.HttpDebug,
			logs:    registry.Resolver.LogsStream,
			streams: f.streams,
		})
		if registry.Resolver.HttpDebug != transfertypes.HTTPDebug_DISABLED { // the log is ours to write
			registry.Resolver.HttpDebug, registry.Resolver.LogsStream = transfertypes.HTTPDebug_DISABLED, ""
			silent, err := typeurl.MarshalAnyToProto(&registry)
			if err != nil {
				return nil, err
			}
			*end = silent
		}
	}
	return f.TransferServer.Transfer(ctx, request)
}

// sent is what a client has sent about a registry, and containerd's object for
// it does not expose.
type sent struct {
	hostDir string
	scheme  string
	debug   transfertypes.HTTPDebug
	logs    string // the stream that the client reads; empty: containerd's log
	streams streaming.StreamGetter
}

// sentKey is its key in the context of a transfer.
type sentKey struct{}

// verifier is an image verifier that may be restricted to roots.
type verifier struct{ imageverifier.ImageVerifier }

func newVerifier(_ *plugin.InitContext, made any) (any, error) {
	inner, ok := made.(imageverifier.ImageVerifier)
	if !ok {
		return nil, unexpected(made)
	}
	return verifier{inner}, nil
}

// unverifiedKey marks the context of members that are not verified.
type unverifiedKey struct{}

// VerifyImage implements [imageverifier.ImageVerifier].
func (v verifier) VerifyImage(ctx context.Context, name string, desc ocispec.Descriptor) (*imageverifier.Judgement, error) {
	if ctx.Value(unverifiedKey{}) != nil {
		return &imageverifier.Judgement{OK: true, Reason: "a member, whose root was judged"}, nil
	}
	return v.ImageVerifier.VerifyImage(ctx, name, desc)
}
