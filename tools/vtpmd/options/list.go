package options

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// list is a parsed "a=b,c,d=e" value. Every accessor takes its key out, so
// that rest can name what nobody asked for.
type list struct {
	name string
	kv   map[string]string
}

func parseList(name, value string) (*list, error) {
	l := &list{name, map[string]string{}}
	for item := range strings.SplitSeq(value, ",") {
		k, v, ok := strings.Cut(item, "=")
		if !ok {
			v = "true"
		}
		if _, dup := l.kv[k]; dup {
			return nil, usage("%s: %s is given twice", name, k)
		}
		l.kv[k] = v
	}
	return l, nil
}

func (l *list) text(key string) string {
	v := l.kv[key]
	delete(l.kv, key)
	return v
}

func (l *list) flag(key string) bool { return l.text(key) == "true" }

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
	n, err := strconv.ParseUint(v, 8, 12)
	if err != nil || v[0] != '0' {
		return usage("%s: mode %q is not an octal number that starts with 0", l.name, v)
	}
	*dst = os.FileMode(n)
	return nil
}

// rest complains about keys that no accessor took.
func (l *list) rest() error {
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
	if err := l.endpointNumbers(e); err != nil {
		return nil, err
	}
	e.Disconnect = l.flag("disconnect")
	typ, path, port := l.text("type"), l.text("path"), l.text("port")
	bind, ifname := l.text("bindaddr"), l.text("ifname")
	if typ == "" && server {
		typ = "tcp"
	}
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
