// Command tamago gives the go command that builds the images.
//
//	go run ./tools/tamago path          print its path, making it if needed
//	go run ./tools/tamago go build ...  run it for GOOS=tamago GOARCH=amd64
//	go run ./tools/tamago info          what it is, as JSON
//	go run ./tools/tamago check [dir..] the images use the runtime/goos contract only
//
// TAMAGO in the environment names another one, such as upstream's tamago-go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"xenvtpm/tools/tamago/toolchain"
)

const usage = "usage: tamago path | go <arguments> | info | check [folder ...]"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tamago:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New(usage)
	}
	switch {
	case args[0] == "check":
		return check(ctx, args[1:])
	case args[0] == "go", (args[0] == "path" || args[0] == "info") && len(args) == 1:
	default:
		return 2, errors.New(usage)
	}
	t, err := toolchain.Find(ctx, toolchain.Config{Logf: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}})
	if err != nil {
		return 1, err
	}
	switch args[0] {
	case "path":
		fmt.Println(t.Go)
	case "info":
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return 0, enc.Encode(t)
	case "go":
		return runGo(ctx, t, args[1:])
	}
	return 0, nil
}

// runGo runs the go command in place of this one and passes its exit code on.
func runGo(ctx context.Context, t *toolchain.Toolchain, args []string) (int, error) {
	cmd := t.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
