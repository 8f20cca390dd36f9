package options

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// list is a parsed "a=b,c,d=e" value. Every accessor takes its key out, so
// that rest can name what nobody asked for. The first thing that is wrong with a value is kept
// in err.
type list struct {
	name string
	kv   map[string]string
	bare map[string]bool // keys without a value
	err  error
}

func parseList(name, value string) (*list, error) {
	l := &list{name: name, kv: map[string]string{}, bare: map[string]bool{}}
	for item := range strings.SplitSeq(value, ",") {
		k, v, ok := strings.Cut(item, "=")
		if !slices.Contains(All[name], k) {
			return nil, usage("%s: unknown %s", name, k)
		}
		if _, dup := l.kv[k]; dup {
			return nil, usage("%s: %s is given twice", name, k)
		}
		l.kv[k], l.bare[k] = v, !ok
	}
	return l, nil
}

// wrong keeps a complaint.
func (l *list) wrong(format string, a ...any) {
	if l.err == nil {
		l.err = usage(l.name+": "+format, a...)
	}
}

func (l *list) text(key string) string {
	v := l.kv[key]
	if l.bare[key] {
		l.wrong("%s needs a value", key)
	}
	delete(l.kv, key)
	return v
}

// flag is true for a key alone.
func (l *list) flag(key string) bool {
	v, given := l.kv[key]
	bare := l.bare[key]
	delete(l.kv, key)
	if given && !bare && v != "true" && v != "false" {
		l.wrong("%s is true or false, not %q", key, v)
	}
	return bare || v == "true"
}

// useless complains about keys that would be without effect, and takes them out.
func (l *list) useless(why string, keys ...string) {
	for _, k := range keys {
		if _, given := l.kv[k]; given {
			l.wrong("%s has no meaning %s", k, why)
			delete(l.kv, k)
		}
	}
}

func (l *list) int(key string, dst *int) error {
	if v := l.text(key); v != "" {
		return setInt(dst, l.name+" "+key, v)
	}
	return nil
}

func (l *list) mode(key string, dst *os.FileMode) error {
	v := l.text(key)
	if v == "" {
		return nil
	}
	n, err := strconv.ParseUint(v, 8, 32)
	if err != nil || n > 0o777 {
		return usage("%s: mode %q is not an octal number of up to 0777", l.name, v)
	}
	*dst = os.FileMode(n)
	return nil
}

// rest complains about values that are wrong and keys that no accessor took.
func (l *list) rest() error {
	if l.err != nil {
		return l.err
	}
	var keys []string
	for k := range l.kv {
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	return usage("%s: unknown %s", l.name, strings.Join(keys, ", "))
}

func (l *list) endpoint(server bool) (*Endpoint, error) {
	e := newEndpoint()
	typ := l.text("type")
	if typ == "" && server {
		typ = "tcp"
	}
	l.uselessEndpoint(typ, server)
	if err := l.endpointNumbers(e); err != nil {
		return nil, err
	}
	e.Disconnect = l.flag("disconnect")
	path, port := l.text("path"), l.text("port")
	bind, ifname := l.text("bindaddr"), l.text("ifname")
	switch {
	case typ != "tcp" && typ != "unixio":
		return nil, usage("%s: type is tcp or unixio, not %q", l.name, typ)
	case e.FD >= 0 && e.ClientFD >= 0:
		return nil, usage("%s: fd and clientfd exclude each other", l.name)
	case e.FD >= 0 || e.ClientFD >= 0:
		return e, nil
	case typ == "unixio" && path != "":
		e.Network, e.Address = "unix", path
	case typ == "tcp" && port != "":
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, usage("%s: port %q is not a port number", l.name, port)
		}
		if bind == "" {
			bind = "127.0.0.1"
		}
		if ifname != "" {
			bind += "%" + ifname
		}
		e.Network, e.Address = "tcp", net.JoinHostPort(bind, port)
	default:
		return nil, usage("%s: give a path (unixio), a port (tcp) or a fd", l.name)
	}
	return e, nil
}

// uselessEndpoint complains about what another kind of endpoint has.
func (l *list) uselessEndpoint(typ string, server bool) {
	if !server {
		l.useless("for a control channel", "disconnect")
	}
	for _, fd := range []string{"fd", "clientfd"} {
		if _, given := l.kv[fd]; given {
			l.useless("beside "+fd, "path", "port", "bindaddr", "ifname", "mode", "uid", "gid")
		}
	}
	switch typ {
	case "tcp":
		l.useless("with type=tcp", "path", "mode", "uid", "gid")
	case "unixio":
		l.useless("with type=unixio", "port", "bindaddr", "ifname")
	}
}

func (l *list) endpointNumbers(e *Endpoint) error {
	for key, dst := range map[string]*int{"fd": &e.FD, "clientfd": &e.ClientFD, "uid": &e.UID, "gid": &e.GID} {
		if err := l.int(key, dst); err != nil {
			return err
		}
	}
	return l.mode("mode", &e.Mode)
}

func (l *list) key() (*KeySpec, error) {
	k := &KeySpec{FD: -1, PwdFD: -1}
	for _, pass := range []string{"pwdfile", "pwdfd"} {
		if _, given := l.kv[pass]; given {
			l.useless("beside "+pass, "format")
		}
	}
	for _, raw := range []string{"file", "fd"} {
		if _, given := l.kv[raw]; given {
			l.useless("beside "+raw, "kdf")
		}
	}
	k.File, k.PwdFile = l.text("file"), l.text("pwdfile")
	k.Mode, k.Format, k.KDF, k.Remove = l.text("mode"), l.text("format"), l.text("kdf"), l.flag("remove")
	for key, dst := range map[string]*int{"fd": &k.FD, "pwdfd": &k.PwdFD} {
		if err := l.int(key, dst); err != nil {
			return nil, err
		}
	}
	sources := 0
	for _, given := range []bool{k.File != "", k.PwdFile != "", k.FD >= 0, k.PwdFD >= 0} {
		if given {
			sources++
		}
	}
	switch {
	case sources != 1:
		return nil, usage("%s: give one of file, fd, pwdfile and pwdfd", l.name)
	case !slices.Contains([]string{"", "aes-cbc", "aes-128-cbc", "aes-256-cbc"}, k.Mode):
		return nil, usage("%s: unknown mode %q", l.name, k.Mode)
	case !slices.Contains([]string{"", "hex", "binary"}, k.Format):
		return nil, usage("%s: format is hex or binary, not %q", l.name, k.Format)
	case !slices.Contains([]string{"", "pbkdf2", "sha512"}, k.KDF):
		return nil, usage("%s: kdf is pbkdf2 or sha512, not %q", l.name, k.KDF)
	}
	return k, nil
}
