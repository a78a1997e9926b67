package sources

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nestedoci/nested/internal/pin"
)

// composeFile is what of a Compose file names images. Services that are built
// and have no image are in no registry.
type composeFile struct {
	Services map[string]struct {
		Image   yaml.Node
		Volumes []yaml.Node // of images, as type: image
	}
}

// readCompose reads the images of services, in the order of the text.
func (o Options) readCompose(t pin.Text) ([]Source, error) {
	// JSON may be indented with tabs, and has none in strings.
	text := t.Bytes
	if firstLine(text)[0] == '{' {
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var images []*yaml.Node
	for {
		var file composeFile
		err := d.Decode(&file)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, unparsed(t, err)
		}
		for _, service := range file.Services {
			images = append(images, &service.Image)
			for i := range service.Volumes {
				images = append(images, imageVolume(&service.Volumes[i]))
			}
		}
	}
	slices.SortFunc(images, func(a, b *yaml.Node) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	var found []Source
	for _, n := range images {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		switch {
		case n.IsZero() || n.ShortTag() == "!!null" || n.ShortTag() == "!!str" && n.Value == "":
			continue
		case n.ShortTag() != "!!str":
			return nil, at(t, n.Line, errors.New("an image that is not a string"))
		}
		s, err := o.imageAt(t, n.Line, n.Value)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, nil
}

// imageVolume is the image that is mounted as a volume; an empty node for other
// volumes.
func imageVolume(n *yaml.Node) *yaml.Node {
	var volume struct {
		Type   string
		Source yaml.Node
	}
	if n.Decode(&volume) != nil || volume.Type != "image" {
		return new(yaml.Node)
	}
	return &volume.Source
}

// unparsed is the first of a parser's errors. It says the line.
func unparsed(t pin.Text, err error) error {
	text := err.Error()
	if all := new(yaml.TypeError); errors.As(err, &all) && len(all.Errors) > 0 {
		text = all.Errors[0]
	}
	return fmt.Errorf("%s: %s", t.Name, strings.TrimPrefix(text, "yaml: "))
}
