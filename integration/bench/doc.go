// Package bench is what `make bench` measures with and reports by: a link with a delay and a bandwidth
// (link.go), what a pull needs at least over it (floor.go), what a pull took (sample.go), and the
// report as tables, lines for benchstat, plots and a chart (report.go, plot.go, bars.go).
//
// What is pulled, and by whom, is in the tests of package integration that are named bench_….
package bench
