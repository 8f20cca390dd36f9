// Package options parses swtpm's command line, so that vtpmd can take its
// place in scripts, libvirt and CI without a change.
package options

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Endpoint is one socket: an address to listen on, or an inherited descriptor.
type Endpoint struct {
	Network    string // "tcp" or "unix"; "" when FD is used
	Address    string // host:port or path
	FD         int    // -1 when not given; a connected or listening socket
	ClientFD   int    // -1 when not given; a connected socket (control channel)
	Mode       os.FileMode
	UID, GID   int // -1: leave
	Disconnect bool
}

// KeySpec is a --key or --migration-key argument.
type KeySpec struct {
	File, PwdFile string
	FD, PwdFD     int // -1 when not given
	Mode          string
	Format        string // hex or binary
	KDF           string // pbkdf2 or sha512
	Remove        bool
}

// LogSpec is a --log argument.
type LogSpec struct {
	File     string // "-" suppresses the log
	FD       int
	Level    int
	Prefix   string
	Truncate bool
}

// Options is everything a vtpmd command line can say.
type Options struct {
	TPM2              bool
	StateDir          string
	StateFile         string // backend-uri=file://
	StateMode         os.FileMode
	NoFsync           bool
	Server, Ctrl      *Endpoint
	Device            string // chardev: path of a character device
	VTPMProxy         bool   // chardev: make a device
	Terminate         bool
	Daemon            bool
	NotNeedInit       bool
	RSA1024           bool   // allow such keys; not a flag of swtpm, which always does
	Startup           string // "", clear, state, deactivated, none
	RejectLocality4   bool
	AllowSetLocality  bool
	Key, MigrationKey *KeySpec
	Log               LogSpec
	PIDFile           string
	PIDFD             int
	RunAs             string
	Seccomp           string // kill, log or none
	PrintCapabilities bool
	PrintStates       bool
	PrintProfiles     bool
	Profile           *ProfileSpec // of a new TPM; nil: the default
	Help              bool
}

// ErrUsage wraps every complaint about the command line.
var ErrUsage = errors.New("wrong use")

func usage(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, a...))
}

// short maps the one-letter forms to the long ones.
var short = map[string]string{
	"-p": "--port", "-f": "--fd", "-t": "--terminate", "-d": "--daemon", "-r": "--runas", "-h": "--help", "-c": "--chardev",
}

// noValue are the options that take none.
var noValue = map[string]bool{
	"--terminate": true, "--daemon": true, "--tpm2": true, "--help": true, "--print-capabilities": true, "--print-states": true, "--print-profiles": true,
	"--vtpm-proxy": true,
}

// All are the options and, of those whose value is a list, its keys. Nothing else is taken.
var All = map[string][]string{
	"--help": nil, "--tpm2": nil, "--print-capabilities": nil, "--print-states": nil, "--print-profiles": nil, "--daemon": nil, "--terminate": nil,
	"--vtpm-proxy": nil, "--chardev": nil, "--runas": nil, "--port": nil, "--fd": nil,
	"--tpmstate":      {"dir", "mode", "backend-uri", "nofsync"},
	"--server":        {"type", "port", "bindaddr", "ifname", "path", "mode", "uid", "gid", "fd", "clientfd", "disconnect"},
	"--ctrl":          {"type", "port", "bindaddr", "ifname", "path", "mode", "uid", "gid", "fd", "clientfd"},
	"--flags":         {"not-need-init", "startup-clear", "startup-state", "startup-none", "startup-deactivated", "rsa1024"},
	"--locality":      {"reject-locality-4", "allow-set-locality"},
	"--key":           {"file", "fd", "pwdfile", "pwdfd", "mode", "format", "kdf", "remove"},
	"--migration-key": {"file", "fd", "pwdfile", "pwdfd", "mode", "format", "kdf", "remove"},
	"--log":           {"file", "fd", "level", "prefix", "truncate"},
	"--pid":           {"file", "fd"},
	"--seccomp":       {"action"},
	"--profile":       {"name", "profile", "file", "fd", "remove-disabled"},
}

// Parse reads the arguments after the subcommand; env is the environment
// (TPM_PATH and TPM_PORT are looked at, as swtpm does).
func Parse(args []string, env func(string) string) (*Options, error) {
	o := &Options{Seccomp: "kill", PIDFD: -1, Log: LogSpec{FD: -1}}
	args = splitShort(args)
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		if long, ok := short[name]; ok && !joined {
			name = long
		}
		if !strings.HasPrefix(name, "--") {
			return nil, usage("unknown argument %q", args[i])
		}
		if noValue[name] && joined {
			return nil, usage("%s takes no value", name)
		}
		if !noValue[name] && !joined {
			if i++; i >= len(args) {
				return nil, usage("%s needs a value", name)
			}
			value = args[i]
		}
		if err := o.set(name, value); err != nil {
			return nil, err
		}
	}
	return o, o.finish(env)
}

// splitShort takes apart what getopt allows to be written together: "-dt" and "-p2321".
func splitShort(args []string) (out []string) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		for len(a) > 2 && a[0] == '-' && short[a[:2]] != "" {
			out = append(out, a[:2])
			if !noValue[short[a[:2]]] {
				a = a[2:] // its value
				break
			}
			a = "-" + a[2:]
		}
		out = append(out, a)
		// The value of an option is not looked at, whatever it begins with.
		if long, isShort := short[a]; i+1 < len(args) && (isShort && !noValue[long] || strings.HasPrefix(a, "--") && !noValue[a] && !strings.Contains(a, "=")) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

func (o *Options) set(name, value string) error {
	if _, ok := All[name]; !ok {
		return usage("unknown option %s", name)
	}
	switch name {
	case "--terminate":
		o.Terminate = true
	case "--daemon":
		o.Daemon = true
	case "--tpm2":
		o.TPM2 = true
	case "--help":
		o.Help = true
	case "--print-capabilities":
		o.PrintCapabilities = true
	case "--print-states":
		o.PrintStates = true
	case "--print-profiles":
		o.PrintProfiles = true
	case "--profile":
		return o.setProfile(value)
	case "--vtpm-proxy":
		o.VTPMProxy = true
	case "--chardev":
		o.Device = value
	case "--runas":
		o.RunAs = value
	case "--port":
		o.Server = newEndpoint()
		o.Server.Network, o.Server.Address, o.Server.Disconnect = "tcp", "127.0.0.1:"+value, true
	case "--fd":
		o.Server, o.Terminate = newEndpoint(), true
		return setInt(&o.Server.FD, name, value)
	default:
		return o.setList(name, value)
	}
	return nil
}

// setList handles the options whose value is a comma-separated list.
func (o *Options) setList(name, value string) error {
	kv, err := parseList(name, value)
	if err != nil {
		return err
	}
	switch name {
	case "--server":
		o.Server, err = kv.endpoint(true)
	case "--ctrl":
		o.Ctrl, err = kv.endpoint(false)
	case "--tpmstate":
		err = o.setState(kv)
	case "--flags":
		err = o.setFlags(kv)
	case "--locality":
		o.RejectLocality4, o.AllowSetLocality = kv.flag("reject-locality-4"), kv.flag("allow-set-locality")
	case "--key":
		o.Key, err = kv.key()
	case "--migration-key":
		o.MigrationKey, err = kv.key()
	case "--log":
		err = o.setLog(kv)
	case "--pid":
		o.PIDFile = kv.text("file")
		err = kv.int("fd", &o.PIDFD)
	case "--seccomp":
		o.Seccomp = kv.text("action")
		if o.Seccomp != "kill" && o.Seccomp != "log" && o.Seccomp != "none" {
			err = usage("--seccomp: action is kill, log or none, not %q", o.Seccomp)
		}
	}
	if err != nil {
		return err
	}
	return kv.rest()
}

func (o *Options) setState(kv *list) error {
	o.StateDir = kv.text("dir")
	if uri := kv.text("backend-uri"); uri != "" {
		scheme, path, ok := strings.Cut(uri, "://")
		switch {
		case o.StateDir != "":
			return usage("--tpmstate: dir and backend-uri exclude each other")
		case !ok || path == "":
			return usage("--tpmstate: backend-uri is dir://PATH or file://PATH, not %q", uri)
		case scheme == "dir":
			o.StateDir = path
		case scheme == "file":
			o.StateFile = path
		default:
			return usage("--tpmstate: unknown scheme %q in backend-uri", scheme)
		}
	}
	o.NoFsync = kv.flag("nofsync")
	return kv.mode("mode", &o.StateMode)
}

func (o *Options) setFlags(kv *list) error {
	o.NotNeedInit, o.RSA1024 = kv.flag("not-need-init"), kv.flag("rsa1024")
	for _, s := range []string{"clear", "state", "deactivated", "none"} {
		if kv.flag("startup-" + s) {
			if o.Startup != "" {
				return usage("--flags: more than one startup type")
			}
			o.Startup = s
		}
	}
	if o.Startup != "" && o.Startup != "none" {
		o.NotNeedInit = true
	}
	return nil
}

func (o *Options) setLog(kv *list) error {
	o.Log.File, o.Log.Prefix, o.Log.Truncate = kv.text("file"), kv.text("prefix"), kv.flag("truncate")
	if err := kv.int("level", &o.Log.Level); err != nil {
		return err
	}
	return kv.int("fd", &o.Log.FD)
}

func (o *Options) finish(env func(string) string) error {
	if o.Help || o.PrintCapabilities || o.PrintProfiles {
		return nil
	}
	if o.StateDir == "" && o.StateFile == "" {
		o.StateDir = env("TPM_PATH")
	}
	if o.Server == nil && env("TPM_PORT") != "" {
		if err := o.set("--port", env("TPM_PORT")); err != nil {
			return err
		}
	}
	if o.StateDir == "" && o.StateFile == "" {
		return usage("say where the TPM's state lives: --tpmstate dir=FOLDER")
	}
	if o.Startup == "deactivated" && o.TPM2 {
		return usage("--flags: startup-deactivated is for TPM 1.2 only")
	}
	return nil
}

func setInt(dst *int, name, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return usage("%s: %q is not a number", name, value)
	}
	*dst = n
	return nil
}

func newEndpoint() *Endpoint {
	return &Endpoint{FD: -1, ClientFD: -1, Mode: 0o770, UID: -1, GID: -1}
}
