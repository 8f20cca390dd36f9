package xentest

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/xenstore"
)

// node is one xenstore node. Nodes are immutable: a change replaces them, so
// that a transaction's snapshot is a copy of one map.
type node struct {
	value    string
	perms    []xenstore.Perm
	children []string // names, sorted
	gen      uint64   // of the last change
}

type tree map[string]*node

// store is the server: the tree, the connections, the watches.
type store struct {
	h     *Hypervisor
	tree  tree
	gen   uint64
	conns map[abi.DomID]*storeConn

	quota Quota
}

// Quota is xenstored's limits for an unprivileged domain; the values that New
// sets are Xen 4.17's defaults.
type Quota struct {
	Nodes        int // owned
	Value        int // bytes
	Watches      int
	Transactions int
}

func newStore(h *Hypervisor) *store {
	s := &store{h: h, tree: tree{}, conns: make(map[abi.DomID]*storeConn)}
	s.quota = Quota{Nodes: 1000, Value: 2048, Watches: 128, Transactions: 10}
	s.tree["/"] = &node{perms: []xenstore.Perm{{Dom: 0, Read: true}}}
	return s
}

// SetQuota replaces the limits.
func (h *Hypervisor) SetQuota(q Quota) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store.quota = q
}

func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/"
	}
	return path[:i]
}

func leaf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// isBelow reports whether path is dir or below it.
func isBelow(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// allowed reports what dom may do with a node.
func (n *node) allowed(dom abi.DomID) (read, write bool) {
	if dom == 0 || n.perms[0].Dom == dom {
		return true, true
	}
	for _, p := range n.perms[1:] {
		if p.Dom == dom {
			return p.Read, p.Write
		}
	}
	return n.perms[0].Read, n.perms[0].Write
}

// nearest is the node itself or its closest existing ancestor.
func (t tree) nearest(path string) *node {
	for {
		if n := t[path]; n != nil {
			return n
		}
		path = parent(path)
	}
}

// view is a tree on which one connection works: the store itself, or the
// snapshot of a transaction. changed collects what watches must hear of.
type view struct {
	s       *store
	tree    tree
	dom     abi.DomID
	changed []change
	seen    map[string]uint64 // generations that a transaction depends on
}

type change struct {
	path    string
	removed bool
	perms   *node // of a removed node, for who may hear of it
}

func (v *view) touch(path string) {
	if v.seen == nil {
		return
	}
	if _, ok := v.seen[path]; !ok {
		v.seen[path] = v.s.generation(path)
	}
}

func (s *store) generation(path string) uint64 {
	if n := s.tree[path]; n != nil {
		return n.gen
	}
	return 0
}

func (v *view) get(path string) (*node, abi.Errno) {
	v.touch(path)
	n := v.tree[path]
	if n == nil {
		if read, _ := v.tree.nearest(path).allowed(v.dom); !read {
			return nil, abi.EACCES
		}
		return nil, abi.ENOENT
	}
	if read, _ := n.allowed(v.dom); !read {
		return nil, abi.EACCES
	}
	return n, 0
}

// put replaces a node's contents.
func (v *view) put(path string, f func(n *node)) {
	n := new(node)
	if old := v.tree[path]; old != nil {
		*n = *old
	}
	f(n)
	v.s.gen++
	n.gen = v.s.gen
	v.tree[path] = n
}

func (v *view) write(path, value string) abi.Errno {
	v.touch(path)
	if v.dom != 0 && len(value) > v.s.quota.Value {
		return abi.ENOSPC
	}
	if n := v.tree[path]; n != nil {
		if _, w := n.allowed(v.dom); !w {
			return abi.EACCES
		}
		v.put(path, func(n *node) { n.value = value })
		v.changed = append(v.changed, change{path: path})
		return 0
	}
	return v.create(path, value)
}

func (v *view) mkdir(path string) abi.Errno {
	v.touch(path)
	if n := v.tree[path]; n != nil {
		if _, w := n.allowed(v.dom); !w {
			return abi.EACCES
		}
		return 0
	}
	return v.create(path, "")
}

// create makes a node and the missing ones above it. They inherit the
// permissions of the nearest existing one; the creator owns them.
func (v *view) create(path, value string) abi.Errno {
	above := v.tree.nearest(path)
	if _, w := above.allowed(v.dom); !w {
		return abi.EACCES
	}
	if v.dom != 0 && v.owned(v.dom) >= v.s.quota.Nodes {
		return abi.ENOSPC
	}
	perms := slices.Clone(above.perms)
	if v.dom != 0 {
		perms[0].Dom = v.dom
	}
	v.put(path, func(n *node) { n.value, n.perms = value, perms })
	for p := path; p != "/"; p = parent(p) {
		up, name := parent(p), leaf(p)
		v.touch(up)
		existed := v.tree[up] != nil
		v.put(up, func(n *node) {
			if !existed {
				n.perms = perms
			}
			n.children = slices.Clone(n.children)
			if i, found := slices.BinarySearch(n.children, name); !found {
				n.children = slices.Insert(n.children, i, name)
			}
		})
		if existed {
			break
		}
	}
	v.changed = append(v.changed, change{path: path})
	return 0
}

func (v *view) owned(dom abi.DomID) int {
	count := 0
	for _, n := range v.tree {
		if n.perms[0].Dom == dom {
			count++
		}
	}
	return count
}

func (v *view) rm(path string) abi.Errno {
	v.touch(path)
	n := v.tree[path]
	if n == nil {
		v.touch(parent(path))
		if v.tree[parent(path)] == nil {
			return abi.ENOENT
		}
		return 0
	}
	if _, w := n.allowed(v.dom); !w {
		return abi.EACCES
	}
	if path == "/" {
		return abi.EINVAL
	}
	for _, p := range slices.Sorted(maps.Keys(v.tree)) {
		if isBelow(p, path) {
			v.touch(p)
			v.changed = append(v.changed, change{path: p, removed: p != path, perms: v.tree[p]})
			delete(v.tree, p)
		}
	}
	v.touch(parent(path))
	v.put(parent(path), func(n *node) {
		n.children = slices.DeleteFunc(slices.Clone(n.children), func(c string) bool { return c == leaf(path) })
	})
	return 0
}

func (v *view) setPerms(path string, perms []xenstore.Perm) abi.Errno {
	v.touch(path)
	n := v.tree[path]
	switch {
	case n == nil:
		return abi.ENOENT
	case v.dom != 0 && n.perms[0].Dom != v.dom:
		return abi.EACCES
	case v.dom != 0 && perms[0].Dom != v.dom:
		return abi.EPERM // only the toolstack gives nodes away
	}
	v.put(path, func(n *node) { n.perms = perms })
	v.changed = append(v.changed, change{path: path})
	return 0
}

// direct runs f on the store itself, as dom, and fires what follows.
func (s *store) direct(dom abi.DomID, f func(v *view) abi.Errno) abi.Errno {
	v := &view{s: s, tree: s.tree, dom: dom}
	errno := f(v)
	s.fire(v.changed)
	return errno
}

// transaction is a view that is not the store yet.
type transaction struct {
	view
	ops []func(v *view) abi.Errno // to be done again on the store
}

func (s *store) begin(dom abi.DomID) *transaction {
	return &transaction{view: view{s: s, tree: maps.Clone(s.tree), dom: dom, seen: make(map[string]uint64)}}
}

// commit applies a transaction if nothing that it saw has changed since.
func (s *store) commit(t *transaction) abi.Errno {
	for path, gen := range t.seen {
		if s.generation(path) != gen {
			return abi.EAGAIN
		}
	}
	return s.direct(t.dom, func(v *view) abi.Errno {
		for _, op := range t.ops {
			if errno := op(v); errno != 0 {
				return errno
			}
		}
		return 0
	})
}

// introduce makes a domain's nodes as libxl does, and tells whoever watches.
func (s *store) introduce(id abi.DomID) {
	home := "/local/domain/" + strconv.Itoa(int(id))
	ro := []xenstore.Perm{{Dom: 0}, {Dom: id, Read: true}}
	rw := []xenstore.Perm{{Dom: id}}
	s.direct(0, func(v *view) abi.Errno {
		for _, n := range []struct {
			path, value string
			perms       []xenstore.Perm
		}{
			{"", "", ro}, {"/domid", strconv.Itoa(int(id)), ro},
			{"/device", "", ro}, {"/backend", "", ro}, {"/control", "", ro},
			{"/control/shutdown", "", rw}, {"/data", "", rw},
			{"/error", "", rw}, {"/feature", "", rw}, {"/attr", "", rw},
		} {
			v.write(home+n.path, n.value)
			v.setPerms(home+n.path, n.perms)
		}
		return 0
	})
	s.fireSpecial("@introduceDomain")
}

// View is a look at the world for WaitUntil's conditions.
type View struct{ h *Hypervisor }

// Get returns a node's value.
func (v View) Get(path string) (string, bool) {
	if n := v.h.store.tree[path]; n != nil {
		return n.value, true
	}
	return "", false
}

// Alive reports whether a domain exists.
func (v View) Alive(id abi.DomID) bool { return v.h.domains[id] != nil }

// Get returns a node's value, as the toolstack sees it.
func (h *Hypervisor) Get(path string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return View{h}.Get(path)
}

// List returns the names of a node's children.
func (h *Hypervisor) List(path string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.store.tree[path]; n != nil {
		return slices.Clone(n.children)
	}
	return nil
}

// Set writes a node as the toolstack, which may write everything. With perms
// the node's permissions are set too.
func (h *Hypervisor) Set(path, value string, perms ...xenstore.Perm) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store.direct(0, func(v *view) abi.Errno {
		v.write(path, value)
		if len(perms) > 0 {
			v.setPerms(path, perms)
		}
		return 0
	})
}

// Remove removes a node and all below, as the toolstack.
func (h *Hypervisor) Remove(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store.direct(0, func(v *view) abi.Errno { return v.rm(path) })
}
