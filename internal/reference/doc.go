// Package reference writes pages of the documentation from the program: the page
// of a command line from cobra's tree (cli.go), the texts that users see (texts.go)
// and the problems that doctor finds (problems.go) from the code, and the schemas
// of what is printed as JSON from its types (schema.go). Tests compare them with
// the pages (page.go), and write those that are generated with -update
// (compare.go).
package reference
