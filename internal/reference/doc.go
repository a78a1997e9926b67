// Package reference writes pages of docs/reference from the program: the page
// of a command line from cobra's tree (cli.go). The tests of the program compare
// the page with the file, and write it with -update (compare.go).
package reference
