package xenstore

import (
	"fmt"
	"strconv"
	"strings"

	"xenvtpm/board/xen/abi"
)

// Perm is one entry of a node's permissions. In the first entry Dom is the
// owner, who may do everything, and Read and Write say what everybody who is
// not listed may do.
type Perm struct {
	Dom         abi.DomID
	Read, Write bool
}

// String is the entry as xenstore writes it: n, r, w or b and the domain.
func (p Perm) String() string {
	letter := "n"
	switch {
	case p.Read && p.Write:
		letter = "b"
	case p.Read:
		letter = "r"
	case p.Write:
		letter = "w"
	}
	return letter + strconv.Itoa(int(p.Dom))
}

// ParsePerm is the inverse of Perm.String.
func ParsePerm(s string) (Perm, error) {
	if len(s) < 2 || !strings.Contains("nrwb", s[:1]) {
		return Perm{}, fmt.Errorf("xenstore: %w: permission %.20q", ErrCorrupt, s)
	}
	dom, err := strconv.ParseUint(s[1:], 10, 16)
	if err != nil {
		return Perm{}, fmt.Errorf("xenstore: %w: permission %.20q", ErrCorrupt, s)
	}
	return Perm{
		Dom:   abi.DomID(dom),
		Read:  s[0] == 'r' || s[0] == 'b',
		Write: s[0] == 'w' || s[0] == 'b',
	}, nil
}

// GetPerms is Client.GetPerms in the transaction.
func (t *Tx) GetPerms(path string) ([]Perm, error) {
	b, err := t.op("get perms", path, abi.XS_GET_PERMS, path+"\x00")
	if err != nil {
		return nil, err
	}
	var perms []Perm
	for s := range strings.SplitSeq(strings.TrimSuffix(string(b), "\x00"), "\x00") {
		p, err := ParsePerm(s)
		if err != nil {
			return nil, err
		}
		perms = append(perms, p)
	}
	return perms, nil
}

// SetPerms is Client.SetPerms in the transaction.
func (t *Tx) SetPerms(path string, perms []Perm) error {
	var s strings.Builder
	s.WriteString(path + "\x00")
	for _, p := range perms {
		s.WriteString(p.String() + "\x00")
	}
	_, err := t.op("set perms", path, abi.XS_SET_PERMS, s.String())
	return err
}
