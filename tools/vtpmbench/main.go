// Command vtpmbench compares vtpmd with swtpm, command by command, in one run:
// both serve a Unix socket, the two take turns, and only the time between a
// command and its answer counts. Ratios hold on a busy machine, times don't.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"xenvtpm/tools/vtpmd/tpmproc"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == echoArg {
		echo(echoFD)
		return
	}
	if len(os.Args) == 2 && os.Args[1] == awakeArg {
		if err := stayAwake(); err != nil {
			fmt.Fprintln(os.Stderr, "vtpmbench: stay awake:", err)
			os.Exit(1)
		}
		return
	}
	if err := bench(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "vtpmbench:", err)
		os.Exit(1)
	}
}

type config struct {
	vtpmd, swtpm string
	budget       time.Duration
	keys         int
	only         *regexp.Regexp
	dir          string
}

func bench(args []string) error {
	f := flag.NewFlagSet("vtpmbench", flag.ContinueOnError)
	var cfg config
	f.StringVar(&cfg.vtpmd, "vtpmd", "", "vtpmd `program`; it is built when not given")
	f.StringVar(&cfg.swtpm, "swtpm", "swtpm", "swtpm `program` to compare with")
	f.DurationVar(&cfg.budget, "time", time.Second, "measure each command for about this long on each TPM")
	f.IntVar(&cfg.keys, "keys", 60, "how many RSA keys each TPM makes")
	only := f.String("only", "", "measure only commands whose name matches this `regexp`")
	asJSON := f.Bool("json", false, "print JSON instead of a table")
	out := f.String("o", "", "write the table, as Markdown, to this `file` too")
	check := f.Bool("check", false, "fail unless no command is slower, the mean is 2.5 times as fast, memory stays below 40 MB and the simplest commands take less than 3 us in process")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if cfg.only, err = regexp.Compile(*only); err != nil {
		return err
	}
	if cfg.dir, err = os.MkdirTemp("", "vtpmbench"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(cfg.dir) }() // a temporary folder
	if cfg.vtpmd == "" {
		cfg.vtpmd = filepath.Join(cfg.dir, "vtpmd")
		if err := tpmproc.Build(context.Background(), cfg.vtpmd); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath(cfg.swtpm); err != nil {
		return fmt.Errorf("nothing to compare with: %w", err)
	}
	r, err := measure(cfg)
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		err = r.table(os.Stdout)
	}
	if err == nil && *out != "" {
		err = r.writeFile(*out)
	}
	if err == nil && *check {
		err = r.check()
	}
	return err
}
