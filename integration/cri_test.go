package integration

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// cri is a daemon as the kubelet sees it. Its namespace is k8s.io.
type cri struct {
	*containerd
	imageService   runtime.ImageServiceClient
	runtimeService runtime.RuntimeServiceClient
}

type criOptions struct {
	version   string // a minor version, the newest by default
	certsD    string // with a directory and hosts.toml for each registry
	localPull bool   // pull with containerd's client, as 1.7 always does, not with the transfer service
	more      string // what ends the configuration
}

// startCRI starts a daemon that runs pods, and brings the image of their sandboxes.
func startCRI(t *testing.T, o criOptions) *cri {
	t.Helper()
	if o.version == "" {
		o.version = newest
	}
	c := startDaemon(t, o.version, func(dir string) string { return criConfig(o.version, dir, o) + o.more }).in("k8s.io")
	connection, err := grpc.NewClient("unix://"+c.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { must(t, connection.Close()) })
	k := &cri{c, runtime.NewImageServiceClient(connection), runtime.NewRuntimeServiceClient(connection)}

	pause, err := pauseProgram()
	must(t, err)
	c.load(t, pauseName, newImage(t, amd64, "", newLayer(t, "hello", pause)))
	// CRI answers when it has looked through all there is, and learns of images by events.
	c.program.await(t, func() bool {
		answer, err := k.imageService.ImageStatus(t.Context(), &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: pauseName}})
		return err == nil && answer.Image != nil
	})
	return k
}

// auth is the login as the kubelet hands it on: without the registry's name.
func (l login) auth() *runtime.AuthConfig {
	return &runtime.AuthConfig{Username: l.username, Password: l.password}
}

// pullImage returns the image's id, the digest of its configuration. auth may be nil.
func (c *cri) pullImage(t *testing.T, ref string, auth *runtime.AuthConfig) string {
	t.Helper()
	id, err := c.tryPullImage(t, ref, auth)
	must(t, err)
	return id
}

func (c *cri) tryPullImage(t *testing.T, ref string, auth *runtime.AuthConfig) (string, error) {
	t.Helper()
	request := &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: ref}, Auth: auth}
	answer, err := c.imageService.PullImage(t.Context(), request)
	return answer.GetImageRef(), err
}

// listImages are all images but the sandboxes'.
func (c *cri) listImages(t *testing.T) []*runtime.Image {
	t.Helper()
	answer, err := c.imageService.ListImages(t.Context(), &runtime.ListImagesRequest{})
	must(t, err)
	var images []*runtime.Image
	for _, image := range answer.Images {
		if !strings.Contains(strings.Join(image.RepoTags, " "), pauseName) {
			images = append(images, image)
		}
	}
	return images
}

// imageStatus is nil for an image that is not there.
func (c *cri) imageStatus(t *testing.T, ref string) *runtime.Image {
	t.Helper()
	answer, err := c.imageService.ImageStatus(t.Context(), &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: ref}})
	must(t, err)
	return answer.Image
}

func (c *cri) removeImage(t *testing.T, ref string) {
	t.Helper()
	_, err := c.imageService.RemoveImage(t.Context(), &runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: ref}})
	must(t, err)
}

// runPod runs a pod with one container of an image that is there, and returns what it printed.
func (c *cri) runPod(t testing.TB, image string) string {
	t.Helper()
	pod := c.podConfig()
	sandbox, err := c.runtimeService.RunPodSandbox(t.Context(), &runtime.RunPodSandboxRequest{Config: pod})
	must(t, err)
	defer c.removePod(t, sandbox.PodSandboxId)

	created, err := c.runtimeService.CreateContainer(t.Context(), &runtime.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId,
		Config: &runtime.ContainerConfig{
			Metadata: &runtime.ContainerMetadata{Name: "container"},
			Image:    &runtime.ImageSpec{Image: image},
			LogPath:  "log",
		},
		SandboxConfig: pod,
	})
	must(t, err)
	_, err = c.runtimeService.StartContainer(t.Context(), &runtime.StartContainerRequest{ContainerId: created.ContainerId})
	must(t, err)
	await(t, "the container ends", 20*time.Second, func() bool {
		answer, err := c.runtimeService.ContainerStatus(t.Context(), &runtime.ContainerStatusRequest{ContainerId: created.ContainerId})
		must(t, err)
		return answer.Status.State == runtime.ContainerState_CONTAINER_EXITED
	})
	return awaitLog(t, filepath.Join(pod.LogDirectory, "log"))
}

// podConfig is a pod in the machine's network, which needs no CNI.
func (c *cri) podConfig() *runtime.PodSandboxConfig {
	id := rand.Text()
	return &runtime.PodSandboxConfig{
		Metadata:     &runtime.PodSandboxMetadata{Name: "pod", Namespace: "default", Uid: id},
		LogDirectory: filepath.Join(c.dir, "logs", id),
		Linux: &runtime.LinuxPodSandboxConfig{SecurityContext: &runtime.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtime.NamespaceOption{Network: runtime.NamespaceMode_NODE},
		}},
	}
}

// removePod ends and removes a pod with its containers.
func (c *cri) removePod(t testing.TB, id string) {
	t.Helper()
	if _, err := c.runtimeService.StopPodSandbox(t.Context(), &runtime.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		t.Error(err)
	}
	if _, err := c.runtimeService.RemovePodSandbox(t.Context(), &runtime.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		t.Error(err)
	}
}

// awaitLog reads what a container printed. containerd writes the last line at about the time when it
// says that the container has ended.
func awaitLog(t testing.TB, path string) string {
	t.Helper()
	var text []byte
	await(t, path+" is written", 10*time.Second, func() bool {
		var err error
		text, err = os.ReadFile(path)
		must(t, err)
		return len(text) > 0
	})
	var printed strings.Builder
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(line, " ", 4) // time, stream, P or F, text
		if fields[2] == "P" {                  // a part of a line
			fields[3] = strings.TrimSuffix(fields[3], "\n")
		}
		printed.WriteString(fields[3])
	}
	return printed.String()
}
