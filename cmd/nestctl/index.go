package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

func newIndex(s *settings) *cobra.Command {
	c := &cobra.Command{Use: "index", Short: "Make nested indexes", Args: cobra.NoArgs}
	c.AddCommand(newIndexCreate(s))
	return c
}

// indexOptions are the flags of index create.
type indexOptions struct {
	*settings
	tags              []string
	annotations       []string
	memberAnnotations []string
	artifactType      string
	strategy          string
	format            string
	property          bool
	dryRun            bool
	noProtect         bool
}

func newIndexCreate(s *settings) *cobra.Command {
	o := indexOptions{settings: s}
	c := &cobra.Command{
		Use:   "create DEST SOURCE...",
		Short: "Make an index of images and artifacts in repositories below the index's",
		Long: "DEST is the index, registry/org/app:v1; each SOURCE what it is to point to, by tag or digest, in a\n" +
			"repository below DEST's: registry/org/app/web:v1. The sources are looked at first, and the tag comes last.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(oneOf("strategy", o.strategy, "auto", "reference", "carrier"), oneOf("format", o.format, "text", "json")); err != nil {
				return err
			}
			return o.create(cmd.Context(), cmd.OutOrStdout(), args[0], args[1:])
		},
	}
	flags := c.Flags()
	flags.StringArrayVar(&o.tags, "tag", nil, "another tag for the index (repeatable)")
	flags.StringArrayVar(&o.annotations, "annotation", nil, "KEY=VALUE on the index (repeatable)")
	flags.StringArrayVar(&o.memberAnnotations, "member-annotation", nil, "KEY=VALUE on each member's descriptor (repeatable)")
	flags.StringVar(&o.artifactType, "artifact-type", "", "artifact type of the index")
	flags.StringVar(&o.strategy, "strategy", "auto", "how the registry is to take it: reference, carrier, or auto: the first of them that it takes")
	flags.StringVar(&o.format, "format", "text", "text or json")
	flags.BoolVar(&o.property, "property", false, "state child namespaces as the property that image-spec issue 1217 proposes, too")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the index and push nothing")
	flags.BoolVar(&o.noProtect, "no-protect", false, "do not tag members in their repositories, which keeps them from the registry's clean-up")
	return c
}

// indexSource is a member of an index to be made.
type indexSource struct {
	repository auth.Repository
	child      nested.Child
	desc       ocispec.Descriptor // with what the index says of it
	manifest   []byte
}

// created is what was made, for people and in JSON.
type created struct {
	Ref      string        `json:"ref"`
	Digest   digest.Digest `json:"digest"`
	Strategy string        `json:"strategy"`
	Members  []string      `json:"members"`
}

func (o *indexOptions) create(ctx context.Context, out io.Writer, dest string, sources []string) (err error) {
	repository, tag, err := parseTag(dest)
	if err != nil {
		return err
	}
	hosts, remove, err := hostsAround(o.hostsDir, repository.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	registries := o.registries(hosts, new(nested.Metrics))
	defer registries.CloseIdleConnections()
	members := make([]indexSource, len(sources))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, source := range sources {
		group.Go(func() (err error) {
			members[i], err = readSource(groupCtx, registries, repository, source)
			return err
		})
	}
	if err = group.Wait(); err != nil {
		return err
	}
	index, desc, err := o.index(members)
	if err != nil {
		return err
	}
	if o.dryRun {
		_, err = fmt.Fprintf(out, "%s\n", index)
		return err
	}
	p := indexPublisher{registries: registries, index: index, desc: desc}
	if !o.noProtect {
		if err = p.protect(ctx, members); err != nil {
			return err
		}
	}
	result := created{Ref: repository.String() + ":" + tag, Digest: desc.Digest}
	result.Strategy = o.strategy
	for _, t := range append([]string{tag}, o.tags...) { // all as the first
		if result.Strategy, err = p.publish(ctx, repository, t, result.Strategy); err != nil {
			return err
		}
	}
	for _, m := range members {
		result.Members = append(result.Members, m.repository.String()+"@"+m.desc.Digest.String())
	}
	if o.format == "json" {
		return printJSON(out, result)
	}
	_, err = fmt.Fprintf(out, "%s@%s\n  %s\nas %s\n", result.Ref, result.Digest, strings.Join(result.Members, "\n  "), result.Strategy)
	return err
}

// parseTag reads a reference by tag.
func parseTag(s string) (auth.Repository, string, error) {
	text, err := parseRef(s)
	if err != nil {
		return auth.Repository{}, "", err
	}
	repository, tag := splitRef(text)
	if tag == "" || strings.Contains(text, "@") {
		return auth.Repository{}, "", usagef("%s: an index is made under a tag, not under a digest", s)
	}
	r, err := auth.ParseRepository(repository)
	return r, tag, err
}

// readSource finds a source and what an index says of it.
func readSource(ctx context.Context, base remotes.Resolver, parent auth.Repository, source string) (indexSource, error) {
	ref, err := parseRef(source)
	if err != nil {
		return indexSource{}, err
	}
	name, _ := splitRef(ref)
	below, ok := strings.CutPrefix(name, parent.String()+"/")
	if !ok {
		return indexSource{}, usagef("%s: a source has to be in a repository below %s, on the same registry (docs/spec.md, section 3)", source, parent)
	}
	m := indexSource{}
	if m.child, err = nested.ParseChild(below); err != nil {
		return m, usagef("%s: %w", source, err)
	}
	if m.repository, err = m.child.In(parent); err != nil {
		return m, usagef("%s: %w", source, err)
	}
	resolved, desc, err := base.Resolve(ctx, ref)
	if err != nil {
		return m, err
	}
	f, err := base.Fetcher(ctx, resolved)
	if err != nil {
		return m, err
	}
	if m.manifest, err = fetchAll(ctx, f, desc); err != nil {
		return m, fmt.Errorf("%s: %w", source, err)
	}
	m.desc = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	return m, m.describe(ctx, f)
}

// describe reads platform and artifact type out of a manifest.
func (m *indexSource) describe(ctx context.Context, f remotes.Fetcher) error {
	var manifest struct {
		ArtifactType string             `json:"artifactType"`
		Config       ocispec.Descriptor `json:"config"`
	}
	if err := json.Unmarshal(m.manifest, &manifest); err != nil {
		return fmt.Errorf("%s@%s: %w", m.repository, m.desc.Digest, err)
	}
	m.desc.ArtifactType = manifest.ArtifactType
	if !images.IsManifestType(m.desc.MediaType) {
		return nil
	}
	if !images.IsConfigType(manifest.Config.MediaType) {
		if m.desc.ArtifactType == "" && manifest.Config.MediaType != ocispec.MediaTypeEmptyJSON {
			m.desc.ArtifactType = manifest.Config.MediaType
		}
		return nil
	}
	data, err := fetchAll(ctx, f, manifest.Config)
	if err != nil {
		return fmt.Errorf("%s@%s: its config: %w", m.repository, m.desc.Digest, err)
	}
	var image ocispec.Image
	if err := json.Unmarshal(data, &image); err != nil {
		return fmt.Errorf("%s@%s: its config: %w", m.repository, m.desc.Digest, err)
	}
	if image.OS != "" {
		p := image.Platform
		m.desc.Platform = &p
	}
	return nil
}

// maxManifest is what docs/spec.md allows, section 5.
const maxManifest = 4 << 20

// fetchAll fetches and verifies a document.
func fetchAll(ctx context.Context, f remotes.Fetcher, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > maxManifest {
		return nil, fmt.Errorf("%s: %d bytes are too many", desc.Digest, desc.Size)
	}
	r, err := f.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, desc.Size+1))
	if err != nil {
		return nil, err
	}
	if desc.Digest.Validate() != nil || desc.Digest.Algorithm().FromBytes(data) != desc.Digest {
		return nil, fmt.Errorf("%s: what was served is something else", desc.Digest)
	}
	return data, nil
}

// indexEntry is a descriptor that may have the property of issue 1217.
type indexEntry struct {
	ocispec.Descriptor
	Namespace string `json:"namespace,omitempty"`
}

// index makes the bytes of the index, the same each time.
func (o *indexOptions) index(members []indexSource) ([]byte, ocispec.Descriptor, error) {
	annotations, err := pairs("annotation", o.annotations)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	ofMembers, err := pairs("member-annotation", o.memberAnnotations)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	index := struct {
		specs.Versioned
		MediaType    string            `json:"mediaType"`
		ArtifactType string            `json:"artifactType,omitempty"`
		Manifests    []indexEntry      `json:"manifests"`
		Annotations  map[string]string `json:"annotations,omitempty"`
	}{specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageIndex, o.artifactType, nil, annotations}
	for _, m := range members {
		entry := indexEntry{Descriptor: m.desc}
		entry.Annotations = map[string]string{}
		maps.Copy(entry.Annotations, ofMembers)
		entry.Annotations[nested.Annotation] = m.child.String()
		if o.property {
			entry.Namespace = m.child.String()
		}
		index.Manifests = append(index.Manifests, entry)
	}
	data, err := json.Marshal(index)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	if len(data) > maxManifest {
		return nil, ocispec.Descriptor{}, fmt.Errorf("the index has %d bytes; %d are allowed", len(data), maxManifest)
	}
	return data, ocispec.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, nil
}

// pairs reads KEY=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	var all map[string]string
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, usagef("--%s %q: must be KEY=VALUE", flag, s)
		}
		if all == nil {
			all = map[string]string{}
		}
		all[key] = value
	}
	return all, nil
}
