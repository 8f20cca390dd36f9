// Command xenlab runs Xen, a Debian dom0, our images and a Debian guest in an
// emulated machine with an emulated hardware TPM, and checks what they do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"xenvtpm/tools/xenlab/scenario"
)

const usage = `usage: xenlab <command> [options]

  run <scenario>   run a scenario; the exit code is its result
  list             list the scenarios
  boot <image>     boot one PVH image by xl create and show its console
  shell            boot dom0 with a shell on this terminal
  deps             get the Debian packages and tools that the lab needs

Options come after the command; xenlab <command> --help lists them. Logs are
kept in build/lab/<scenario>. Downloads go to $XENVTPM_CACHE (default .cache).
`

// Exit codes: 0 all is proven, 1 something failed, 2 the command line is wrong.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(command(ctx, os.Args[1:]))
}

func command(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "run":
		err = runCommand(ctx, args[1:])
	case "list":
		err = listCommand(args[1:])
	case "boot":
		err = bootCommand(ctx, args[1:])
	case "shell":
		err = shellCommand(ctx, args[1:])
	case "deps":
		err = depsCommand(ctx, args[1:])
	case "help", "-h", "-help", "--help":
		fmt.Print(usage)
	default:
		fmt.Fprintf(os.Stderr, "xenlab: unknown command %q\n%s", args[0], usage)
		return 2
	}
	var bad usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &bad):
		fmt.Fprintln(os.Stderr, "xenlab:", err)
		return 2
	case !errors.Is(err, errFailed):
		fmt.Fprintln(os.Stderr, "xenlab:", err)
	}
	return 1
}

type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

var errFailed = errors.New("a check failed")

// common are the options of all commands that start a machine.
type common struct {
	kvm, verbose, json bool
	images, policy     string
	params             params
}

func (c *common) register(fs *flag.FlagSet) {
	fs.BoolVar(&c.kvm, "kvm", false, "use hardware virtualisation instead of emulation")
	fs.BoolVar(&c.verbose, "v", false, "show the consoles of all domains")
	fs.StringVar(&c.images, "images", "", "`folder` with the images (default build/images)")
	fs.StringVar(&c.policy, "policy", "", "`folder` with the policy that has to accept them (default: that of the build, IMAGES.trust)")
	fs.Var(&c.params, "param", "`name=value` for the scenario's steps (may be repeated)")
	fs.BoolVar(&c.json, "json", false, "print the result as JSON on standard output")
}

// params collects the options -param name=value.
type params map[string]string

func (p *params) String() string { return "" }

func (p *params) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("want name=value")
	}
	if *p == nil {
		*p = make(params)
	}
	(*p)[name] = value
	return nil
}

// parse reads one positional argument (if any is wanted) and options in any order.
func parse(fs *flag.FlagSet, args []string, want int) ([]string, error) {
	var pos []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err.Error()}
		}
		if fs.NArg() == 0 {
			break
		}
		pos = append(pos, fs.Arg(0))
		args = fs.Args()[1:]
	}
	if len(pos) != want {
		return nil, usageError{fmt.Sprintf("%s takes %d argument(s), not %d", fs.Name(), want, len(pos))}
	}
	return pos, nil
}

func logf(format string, a ...any) { fmt.Fprintf(os.Stderr, "xenlab: "+format+"\n", a...) }

func workshop() (*scenario.Workshop, error) {
	return scenario.NewWorkshop(os.Getenv("XENVTPM_CACHE"), logf)
}

func depsCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("xenlab deps", flag.ContinueOnError)
	refresh := fs.Bool("update", false, "ask apt for newer packages")
	tests := fs.Bool("tests", false, "also install the programs that the project's tests run against")
	if _, err := parse(fs, args, 0); err != nil {
		return err
	}
	w, err := workshop()
	if err != nil {
		return err
	}
	if err := w.Deps(ctx, *refresh); err != nil {
		return err
	}
	if *tests {
		if err := w.TestTools(ctx); err != nil {
			return err
		}
	}
	logf("ready: Linux %s", w.Version)
	return nil
}

func bootCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("xenlab boot", flag.ContinueOnError)
	var c common
	c.register(fs)
	var o scenario.BootOptions
	fs.IntVar(&o.MemoryMB, "memory", 16, "memory of the domain in `MB`")
	fs.StringVar(&o.Extra, "extra", "", "command `line` of the image")
	fs.StringVar(&o.IOMem, "iomem", "", "`pages` for iomem=, such as fed40,5 for the TPM")
	fs.IntVar(&o.DiskMB, "disk", 0, "give it a blank disk of this many `MB`")
	fs.DurationVar(&o.Timeout, "timeout", time.Minute, "how long it may run")
	fs.StringVar(&o.Expect, "expect", "", "`text` that its console must show")
	fs.StringVar(&o.Shutdown, "shutdown", "", "ask it to power off when its console shows this `text`")
	pos, err := parse(fs, args, 1)
	if err != nil {
		return err
	}
	o.Image = pos[0]
	s, err := scenario.Boot(o)
	if err != nil {
		return err
	}
	c.verbose = true
	return c.run(ctx, s)
}

func listCommand(args []string) error {
	fs := flag.NewFlagSet("xenlab list", flag.ContinueOnError)
	if _, err := parse(fs, args, 0); err != nil {
		return err
	}
	for _, s := range scenario.All() {
		fmt.Printf("%-12s %s\n", s.Name, s.About)
	}
	return nil
}

func runCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("xenlab run", flag.ContinueOnError)
	var c common
	c.register(fs)
	pos, err := parse(fs, args, 1)
	if err != nil {
		return err
	}
	for _, s := range scenario.All() {
		if s.Name == pos[0] {
			return c.run(ctx, s)
		}
	}
	return usageError{fmt.Sprintf("there is no scenario %q; xenlab list names them", pos[0])}
}

// shellCommand boots dom0 for a person.
func shellCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("xenlab shell", flag.ContinueOnError)
	var c common
	c.register(fs)
	if _, err := parse(fs, args, 0); err != nil {
		return err
	}
	w, err := c.workshop()
	if err != nil {
		return err
	}
	s, err := w.Shell()
	if err != nil {
		return err
	}
	return c.runIn(ctx, w, s)
}

func (c *common) workshop() (*scenario.Workshop, error) {
	w, err := workshop()
	if err == nil && c.images != "" {
		w.Images = c.images
	}
	if err == nil {
		w.Policy = c.policy
	}
	return w, err
}

func (c *common) run(ctx context.Context, s *scenario.Scenario) error {
	w, err := c.workshop()
	if err != nil {
		return err
	}
	return c.runIn(ctx, w, s)
}

// runIn runs a scenario and shows its result.
func (c *common) runIn(ctx context.Context, w *scenario.Workshop, s *scenario.Scenario) error {
	for i := range s.Phases {
		job := &s.Phases[i].Job
		if job.Params == nil {
			job.Params = make(map[string]string)
		}
		maps.Copy(job.Params, c.params)
	}
	if err := w.Prepare(ctx, s.Interactive); err != nil {
		return err
	}
	out := os.Stdout
	if c.json {
		out = os.Stderr
	}
	res, err := w.Run(ctx, s, scenario.Options{KVM: c.kvm, Verbose: c.verbose,
		Print: func(line string) { fmt.Fprintln(out, line) }})
	if !s.Interactive {
		fmt.Fprint(out, "\n", scenario.Table(res))
	}
	if c.json {
		if jerr := scenario.WriteJSON(os.Stdout, res); jerr != nil {
			return jerr
		}
	}
	if err == nil && !res.OK {
		return errFailed
	}
	return err
}
