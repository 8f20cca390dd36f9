// Command stubimage builds, describes, signs and verifies the stub domain
// images. See docs/images.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"xenvtpm/tools/stubimage/verify"
)

// Exit codes.
const (
	exitOK      = 0
	exitRefused = 1 // looked at and found wrong
	exitFailed  = 2 // usage, or could not be done
)

type command struct {
	name, args, help string
	run              func(ctx context.Context, env *env, args []string) error
}

var commands = []command{
	{"build", "[--out DIR] [--version V] [--smoke-out DIR] [--trust DIR] [--packages N]", "build the images, their manifest and the smoke kernels, and say what is inside", runBuild},
	{"report", "[NAME ...]", "what is inside: packages by size, lines of code, modules", runReport},
	{"repro", "[--keep]", "build everything twice, differently, and compare", runRepro},
	{"note", "FILE ...", "add the PVH entry note to linked images", runNote},
	{"manifest", "[--dir DIR] [--host DIR --trust DIR] --version V [--expires TIME]", "describe the images of a folder, and what is released with them", runManifest},
	{"sign", "[--dir DIR] --key FILE", "sign a folder's manifest (private key, or .pub with ssh-agent)", runSign},
	{"verify", "[--dir DIR | --release DIR | --installed [--prefix DIR] [--destdir DIR]] [--policy DIR | --signers FILE ...] [--json]", "may these images, this release, what is installed here be used?", runVerify},
	{"measure", "[--dir DIR | FILE ...] [--json]", "the digests that measured launches record", runMeasure},
	{"release", "--version V [--key FILE] [--skip-repro]", "build, compare, describe, sign, verify", runRelease},
	{"install", "[--from DIR] [--destdir DIR] [--prefix DIR]", "put a release where a Xen host expects it", runInstall},
}

// env is the outside of a command, for tests to replace.
type env struct {
	out, err io.Writer
	getenv   func(string) string
}

func (e *env) logf(format string, args ...any) { fmt.Fprintf(e.err, format+"\n", args...) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &env{os.Stdout, os.Stderr, os.Getenv}, os.Args[1:])
	stop()
	os.Exit(code)
}

// errUsage has been explained already.
var errUsage = errors.New("usage")

func run(ctx context.Context, env *env, args []string) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				return exitCode(env, c.name, c.run(ctx, env, args[1:]))
			}
		}
	}
	fmt.Fprintln(env.err, "usage: stubimage COMMAND ...")
	for _, c := range commands {
		fmt.Fprintf(env.err, "  %-9s %s\n            %s\n", c.name, c.args, c.help)
	}
	return exitFailed
}

func exitCode(env *env, name string, err error) int {
	var refusal *verify.Refusal
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		return exitFailed
	case errors.As(err, &refusal), errors.Is(err, errDiffers):
		env.logf("stubimage %s: REFUSED %v", name, err)
		return exitRefused
	}
	env.logf("stubimage %s: %v", name, err)
	return exitFailed
}

// parse reads the flags of a command; more says whether arguments may follow.
func parse(env *env, fs *flag.FlagSet, args []string, more bool) error {
	fs.SetOutput(env.err)
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	if !more && fs.NArg() > 0 {
		env.logf("stubimage %s: unexpected argument %q", fs.Name(), fs.Arg(0))
		return errUsage
	}
	return nil
}
