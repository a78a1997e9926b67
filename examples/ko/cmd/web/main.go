// Command web is one of the two images of the example.
package main

func main() { println("web") }
