group "default" {
  targets = ["web", "worker"]
}

target "web" {
  context = "web"
  tags    = ["registry.example.com/examples/bake/web:v1", "registry.example.com/examples/bake/web:latest"]
}

target "worker" {
  context = "worker"
  tags    = ["registry.example.com/examples/bake/worker:v1"]
}
