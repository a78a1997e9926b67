package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/nestedoci/nested/internal/leaktest"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == helperProgram {
		os.Exit(runHelper())
	}
	leaktest.Main(m)
}

// TestDemo runs the demo. Its output fits a terminal.
func TestDemo(t *testing.T) {
	program := filepath.Join(t.TempDir(), "nestctl")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../../cmd/nestctl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdout := os.Stdout
	os.Stdout = out
	err = run(program)
	os.Stdout = stdout
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if width := utf8.RuneCountInString(lines.Text()); width > 100 {
			t.Errorf("%d characters: %s", width, lines.Text())
		}
	}
}

// TestWrongProgram: the demo sees when what it shows is not so.
func TestWrongProgram(t *testing.T) {
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	stdout := os.Stdout
	os.Stdout = quiet
	defer func() { os.Stdout = stdout }()
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	if err := run(program); err == nil {
		t.Error("no error for a program that does nothing")
	}
}
