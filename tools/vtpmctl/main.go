// Command vtpmctl administers the vTPM manager from domain 0, over the vTPM
// device that the toolstack has attached there (xl vtpm-attach 0
// backend=vtpmmgr), and makes and checks the files that go with it: signed
// policies, backups, recovery keys, attestation bundles. It also starts the
// domains, after a check of their images. See docs/operations.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"xenvtpm/tools/stubimage/verify"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Exit codes.
const (
	exitOK      = 0
	exitRefused = 1 // the manager refused, an image was refused, or a check failed
	exitFailed  = 2 // usage, or could not be done
)

// command is one command; its name may have two words.
type command struct {
	name, args, help string
	run              func(e *env, args []string) error
}

func commands() []command {
	return []command{
		{"start", "[--policy DIR] [--dry-run] CONFIG.cfg ...", "verify the images that xl configurations boot, then xl create them", runStart},
		{"status", "", "what the manager is and how it is", runStatus},
		{"list", "[--group GROUP]", "the vTPMs", runList},
		{"show", "UUID", "one vTPM", runShow},
		{"create", "UUID [--group GROUP]", "add a vTPM; its first start fills it", runCreate},
		{"delete", "UUID", "delete a vTPM that is not running, for good", runDelete},
		{"move", "UUID --group GROUP [--release FILE]", "put a vTPM into another group", runMove},
		{"release new", "--group GROUP --to GROUP [--sequence N] FILE UUID ...", "write an unsigned release: vTPMs that may leave their group (default: the default group)", runReleaseNew},
		{"release sign", "--key KEY FILE", "sign a release with the key of the group that is left, offline", runReleaseSign},
		{"group create", "NAME --authority KEY --policy FILE", "make a group that opens in signed platform states", runGroupCreate},
		{"group list", "", "the groups", runGroupList},
		{"group show", "GROUP", "one group and its approved states", runGroupShow},
		{"group update", "FILE", "the same as policy apply", runPolicyApply},
		{"group delete", "GROUP", "delete an empty group", runGroupDelete},
		{"policy new", "[--group GROUP] [--pcrs LIST] [--from FILE] [--set PCR=HEX] [--comment TEXT] [--sequence N] FILE", "write the present platform state, or that of an upgrade, to an unsigned policy", runPolicyNew},
		{"policy sign", "--key KEY FILE", "sign a policy, offline (private key, or .pub with ssh-agent)", runPolicySign},
		{"policy show", "FILE [--authority KEY]", "what a policy says, and whether it is signed", runPolicyShow},
		{"policy apply", "FILE", "put a signed policy in force", runPolicyApply},
		{"authority", "KEY", "what authority= on the manager's command line is for this approval key", runAuthority},
		{"provision", "--authority KEY --policy FILE [--recovery KEY]", "give the manager's root an approval key, and a recovery key", runProvision},
		{"recovery keygen", "FILE", "make a recovery key (FILE and FILE.pub)", runRecoveryKeygen},
		{"recovery request", "[--backup BACKUP] FILE", "write what has to go to where the recovery key is", runRecoveryRequest},
		{"recovery answer", "--key FILE (--session FINGERPRINT | --enrolled BUNDLE --authority KEY) --box FINGERPRINT|unknown REQUEST ANSWER", "offline: open a request with the recovery key", runRecoveryAnswer},
		{"recovery finish", "[--backup] ANSWER", "bring the answer back to the manager", runRecoveryFinish},
		{"recovery certify", "--key KEY --manager UUID --number N RECOVERY.pub FILE", "offline: sign that a manager is to take another recovery key", runRecoveryCertify},
		{"recovery replace", "FILE", "give the manager a certified recovery key in place of the one it has", runRecoveryReplace},
		{"backup", "FILE", "write all vTPMs' keys, encrypted, to a file", runBackup},
		{"restore", "FILE [--overwrite] [--default-group] [--release FILE] [--check] [--partial]", "bring vTPMs back from a backup", runRestore},
		{"events", "[--from N]", "the manager's log of security events", runEvents},
		{"pcrs", "[LIST]", "the hardware TPM's PCRs", runPCRs},
		{"attest enrol", "--key KEY [--ek-roots PEM] BUNDLE", "check that the manager's keys live in the hardware TPM, and sign that", runAttestEnrol},
		{"attest add", "BUNDLE [--certificate F] [--deep-quote F] [--quote F --signature F --vtpm-key F [--vtpm-parent F] [--pcr-values F]] [--event-log F]", "add a vTPM's evidence to a bundle", runAttestAdd},
		{"verify", "BUNDLE --authority KEY [--nonce HEX] [--vtpm UUID] [--group UUID] [--manager UUID] [--approved-by KEY] [--ek-roots PEM] [--hardware-pcrs LIST] [--guest-pcrs LIST] [--policy FILE] [--require-event-log] | --manager-only",
			"check a bundle, offline; what is asked for and not there has failed", runVerify},
		{"completion", "bash", "a completion script", runCompletion},
		{"man", "", "the manual page, in roff", runMan},
	}
}

// env is the outside of a command, for tests to replace.
type env struct {
	out, err io.Writer
	getenv   func(string) string
	device   string
	json     bool
	dial     func(device string) (proto.Sender, func() error, error)
	now      func() time.Time
}

func main() {
	e := &env{out: os.Stdout, err: os.Stderr, getenv: os.Getenv, dial: openDevice, now: time.Now}
	os.Exit(run(e, os.Args[1:]))
}

// errUsage has been explained already.
var errUsage = errors.New("usage")

// errFailedCheck is a check whose result has been printed.
var errFailedCheck = errors.New("check failed")

func run(e *env, args []string) int {
	cmd, rest := find(args)
	if cmd == nil {
		usage(e.err)
		if len(args) > 0 && (args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
			return exitOK
		}
		return exitFailed
	}
	err := cmd.run(e, rest)
	var refused proto.Result
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp), errors.Is(err, errUsage):
		fmt.Fprintf(e.err, "usage: vtpmctl %s %s\n", cmd.name, cmd.args)
		return exitFailed
	case errors.Is(err, errFailedCheck):
		return exitRefused
	}
	fmt.Fprintf(e.err, "vtpmctl %s: %v\n", cmd.name, err)
	var image *verify.Refusal
	if errors.As(err, &refused) || errors.As(err, &image) {
		return exitRefused
	}
	return exitFailed
}

// find takes the longest name that the arguments begin with.
func find(args []string) (*command, []string) {
	all := commands()
	for n := min(2, len(args)); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for i := range all {
			if all[i].name == name {
				return &all[i], args[n:]
			}
		}
	}
	return nil, nil
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "vtpmctl: administer the Xen vTPM manager\n\nusage: vtpmctl COMMAND [--json] [--device /dev/tpmN] ...")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-17s %s\n  %17s   %s\n", c.name, c.args, "", c.help)
	}
}

// atLeastOne argument, for parse.
const atLeastOne = -1

// parse reads flags in any place among the arguments and wants n others.
func (e *env) parse(args []string, n int, define func(*flag.FlagSet)) ([]string, error) {
	fs := flag.NewFlagSet("vtpmctl", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&e.json, "json", e.json, "print JSON")
	fs.StringVar(&e.device, "device", e.device, "the manager's vTPM device")
	if define != nil {
		define(fs)
	}
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			fmt.Fprintln(e.err, "vtpmctl:", err)
			return nil, errUsage
		}
		if fs.NArg() == 0 {
			break
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
	if name := givenEmpty(fs); name != "" {
		fmt.Fprintf(e.err, "vtpmctl: --%s was given without a value\n", name)
		return nil, errUsage
	}
	if n == atLeastOne && len(rest) == 0 || n >= 0 && len(rest) != n {
		return nil, errUsage
	}
	return rest, nil
}

// givenEmpty names an option that was given with nothing: a variable that a script
// forgot to set must not count as a question that was not asked.
func givenEmpty(fs *flag.FlagSet) (name string) {
	fs.Visit(func(f *flag.Flag) {
		text, isText := f.Value.(flag.Getter) // a function's value is read by the function
		if isText && text.Get() == "" && f.Name != "comment" {
			name = f.Name
		}
	})
	return name
}
