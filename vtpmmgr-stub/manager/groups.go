package manager

import (
	"xenvtpm/vtpmmgr-stub/proto"
	"xenvtpm/vtpmmgr-stub/store"
)

// group is a set of vTPMs whose keys open together.
type group struct {
	id   proto.UUID
	name string
	box  *store.Box // nil: closed
	why  error      // why it is closed
}

// defaultGroup is the group of vTPMs that nobody has put elsewhere. It is
// always there and opens with the root key.
var defaultGroup proto.UUID

func (m *Manager) loadGroups() error {
	key, err := store.DeriveKey(m.secret.key[:], "default group")
	if err != nil {
		return err
	}
	box, err := store.NewBox(key, m.c.Rand)
	clear(key)
	if err != nil {
		return err
	}
	m.groups[defaultGroup] = &group{id: defaultGroup, name: "default", box: box}
	return nil
}
