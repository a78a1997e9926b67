module github.com/nestedoci/nested/integration

go 1.26.6

require (
	github.com/nestedoci/nested v0.0.0-00010101000000-000000000000
	github.com/opencontainers/go-digest v1.0.0
	github.com/opencontainers/image-spec v1.1.1
)

replace github.com/nestedoci/nested => ../
