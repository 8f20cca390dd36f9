package xentest

import (
	"strconv"
	"strings"

	"xenvtpm/board/xen/abi"
	"xenvtpm/board/xen/ring"
	"xenvtpm/board/xen/xenstore"
)

// StoreFault is what happens to a request instead of its answer.
type StoreFault struct {
	Drop  bool      // no answer at all
	Errno abi.Errno // this error
	Value *string   // this payload, as if it were the answer
	Raw   []byte    // these bytes on the stream, whatever they mean
}

// storeConn is the server's end of one domain's ring.
type storeConn struct {
	s       *store
	d       *Domain
	in      *ring.Reader
	out     *ring.Writer
	parser  xenstore.Parser
	pending []byte // answers that did not fit the ring
	broken  bool

	watches []*storeWatch
	tx      map[uint32]*transaction
	lastTx  uint32
}

type storeWatch struct {
	path, token string // as given
	abs         string
}

func newStoreConn(s *store, d *Domain) *storeConn {
	c := &storeConn{
		s: s, d: d, tx: make(map[uint32]*transaction),
		in: ring.NewReader(d.StorePage, ring.Layout{
			Buf: abi.XenstoreReq, Size: abi.XenstoreRingSize, Cons: abi.XenstoreReqCons, Prod: abi.XenstoreReqProd,
		}),
		out: ring.NewWriter(d.StorePage, ring.Layout{
			Buf: abi.XenstoreRsp, Size: abi.XenstoreRingSize, Cons: abi.XenstoreRspCons, Prod: abi.XenstoreRspProd,
		}),
	}
	s.conns[d.ID] = c
	return c
}

func (c *storeConn) close() {
	c.broken = true
	delete(c.s.conns, c.d.ID)
}

// service handles what is in the ring. It runs when the domain notifies, with
// the lock held.
func (c *storeConn) service() {
	var buf [abi.XenstoreRingSize]byte
	for !c.broken {
		c.flush()
		n, err := c.in.Read(buf[:])
		if err != nil || n == 0 {
			c.broken = c.broken || err != nil
			return
		}
		c.d.setPending(c.d.StorePort) // there is room again
		for b := buf[:n]; len(b) > 0 && !c.broken; {
			used, pkt, ok, err := c.parser.Feed(b)
			if err != nil {
				c.broken = true
				return
			}
			if ok {
				c.handle(pkt)
			}
			b = b[used:]
		}
	}
}

// flush moves answers to the ring as far as there is room.
func (c *storeConn) flush() {
	n, err := c.out.Write(c.pending)
	if err != nil {
		c.broken = true
		return
	}
	if n > 0 {
		c.pending = c.pending[n:]
		c.d.setPending(c.d.StorePort)
	}
}

func (c *storeConn) send(p xenstore.Packet) {
	c.pending = p.Append(c.pending)
	c.flush()
}

func (c *storeConn) handle(req xenstore.Packet) {
	reply := xenstore.Packet{Type: req.Type, ReqID: req.ReqID, TxID: req.TxID}
	if f := c.s.h.StoreFault; f != nil {
		if fault := f(c.d.ID, req); fault != nil {
			c.injure(reply, fault)
			return
		}
	}
	payload, errno := c.do(req)
	if errno != 0 {
		reply.Type, payload = abi.XS_ERROR, errno.Error()+"\x00"
	}
	reply.Payload = []byte(payload)
	c.send(reply)
	if req.Type == abi.XS_WATCH && errno == 0 {
		w := c.watches[len(c.watches)-1]
		c.event(w, w.path)
	}
	c.s.h.changed()
}

func (c *storeConn) injure(reply xenstore.Packet, f *StoreFault) {
	switch {
	case f.Drop:
	case f.Raw != nil:
		c.pending = append(c.pending, f.Raw...)
		c.flush()
	case f.Value != nil:
		reply.Payload = []byte(*f.Value)
		c.send(reply)
	default:
		reply.Type, reply.Payload = abi.XS_ERROR, []byte(f.Errno.Error()+"\x00")
		c.send(reply)
	}
}

func (c *storeConn) home() string { return "/local/domain/" + strconv.Itoa(int(c.d.ID)) }

func (c *storeConn) absolute(path string) string {
	if strings.HasPrefix(path, "/") || strings.HasPrefix(path, "@") {
		return path
	}
	return c.home() + "/" + path
}

const okay = "OK\x00"

// do executes one request; the answer's payload or an error number.
func (c *storeConn) do(req xenstore.Packet) (string, abi.Errno) {
	args := strings.Split(string(req.Payload), "\x00")
	switch req.Type {
	case abi.XS_WATCH, abi.XS_UNWATCH:
		if len(args) != 3 {
			return "", abi.EINVAL
		}
		if req.Type == abi.XS_WATCH {
			return c.watch(args[0], args[1])
		}
		return c.unwatch(args[0], args[1])
	case abi.XS_TRANSACTION_START:
		if c.d.ID != 0 && len(c.tx) >= c.s.quota.Transactions {
			return "", abi.ENOSPC
		}
		c.lastTx++
		c.tx[c.lastTx] = c.s.begin(c.d.ID)
		return strconv.Itoa(int(c.lastTx)) + "\x00", 0
	case abi.XS_TRANSACTION_END:
		t := c.tx[req.TxID]
		if t == nil || len(args) != 2 {
			return "", abi.ENOENT
		}
		delete(c.tx, req.TxID)
		if args[0] != "T" {
			return okay, 0
		}
		return okay, c.s.commit(t)
	}
	path, rest, ok := strings.Cut(string(req.Payload), "\x00")
	if !ok || xenstore.CheckPath(path) != nil {
		return "", abi.EINVAL
	}
	return c.nodeOp(req, c.absolute(path), rest)
}

// nodeOp executes a request about one node, in its transaction if it has one.
func (c *storeConn) nodeOp(req xenstore.Packet, path, rest string) (string, abi.Errno) {
	var change func(v *view) abi.Errno
	switch req.Type {
	case abi.XS_WRITE:
		change = func(v *view) abi.Errno { return v.write(path, rest) }
	case abi.XS_MKDIR:
		change = func(v *view) abi.Errno { return v.mkdir(path) }
	case abi.XS_RM:
		change = func(v *view) abi.Errno { return v.rm(path) }
	case abi.XS_SET_PERMS:
		perms, errno := parsePerms(rest)
		if errno != 0 {
			return "", errno
		}
		change = func(v *view) abi.Errno { return v.setPerms(path, perms) }
	}
	v := &view{s: c.s, tree: c.s.tree, dom: c.d.ID}
	if req.TxID != 0 {
		t := c.tx[req.TxID]
		if t == nil {
			return "", abi.ENOENT
		}
		if change != nil {
			errno := change(&t.view)
			if errno == 0 {
				t.ops = append(t.ops, change)
			}
			return okay, errno
		}
		v = &t.view
	} else if change != nil {
		return okay, c.s.direct(c.d.ID, change)
	}
	return look(v, req.Type, path, rest)
}

// look executes a request that only reads.
func look(v *view, typ uint32, path, rest string) (string, abi.Errno) {
	n, errno := v.get(path)
	if errno != 0 {
		return "", errno
	}
	switch typ {
	case abi.XS_READ:
		return n.value, 0
	case abi.XS_DIRECTORY:
		list := joinNames(n.children)
		if len(list) > abi.XENSTORE_PAYLOAD_MAX {
			return "", abi.E2BIG
		}
		return list, 0
	case abi.XS_DIRECTORY_PART:
		return directoryPart(n, rest)
	case abi.XS_GET_PERMS:
		var s strings.Builder
		for _, p := range n.perms {
			s.WriteString(p.String() + "\x00")
		}
		return s.String(), 0
	}
	return "", abi.ENOSYS
}

func joinNames(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return strings.Join(names, "\x00") + "\x00"
}

// directoryPart answers with the generation and whole names from an offset;
// an empty name ends the listing.
func directoryPart(n *node, rest string) (string, abi.Errno) {
	list := joinNames(n.children)
	off, err := strconv.Atoi(strings.TrimSuffix(rest, "\x00"))
	if err != nil || off < 0 || off > len(list) {
		return "", abi.EINVAL
	}
	head := strconv.FormatUint(n.gen, 10) + "\x00"
	room := abi.XENSTORE_PAYLOAD_MAX - len(head) - 1
	part := list[off:]
	if len(part) <= room {
		return head + part + "\x00", 0
	}
	return head + part[:strings.LastIndexByte(part[:room], 0)+1], 0
}

func parsePerms(s string) ([]xenstore.Perm, abi.Errno) {
	var perms []xenstore.Perm
	for e := range strings.SplitSeq(strings.TrimSuffix(s, "\x00"), "\x00") {
		p, err := xenstore.ParsePerm(e)
		if err != nil {
			return nil, abi.EINVAL
		}
		perms = append(perms, p)
	}
	return perms, 0
}

func (c *storeConn) watch(path, token string) (string, abi.Errno) {
	if c.d.ID != 0 && len(c.watches) >= c.s.quota.Watches {
		return "", abi.E2BIG
	}
	for _, w := range c.watches {
		if w.path == path && w.token == token {
			return "", abi.EEXIST
		}
	}
	c.watches = append(c.watches, &storeWatch{path: path, token: token, abs: c.absolute(path)})
	return okay, 0
}

func (c *storeConn) unwatch(path, token string) (string, abi.Errno) {
	for i, w := range c.watches {
		if w.path == path && w.token == token {
			c.watches = append(c.watches[:i:i], c.watches[i+1:]...)
			return okay, 0
		}
	}
	return "", abi.ENOENT
}

// event sends a watch event; path is in the watch's own form.
func (c *storeConn) event(w *storeWatch, path string) {
	c.send(xenstore.Packet{Type: abi.XS_WATCH_EVENT, Payload: []byte(path + "\x00" + w.token + "\x00")})
}

// fire tells everybody who watches and may know.
func (s *store) fire(list []change) {
	for _, ch := range list {
		for _, c := range s.conns {
			for _, w := range c.watches {
				if c.concerns(w, ch) {
					path := ch.path
					if w.abs != w.path {
						path = strings.TrimPrefix(path, c.home()+"/")
					}
					c.event(w, path)
				}
			}
		}
	}
	if len(list) > 0 {
		s.h.storeChanged()
	}
}

// concerns reports whether a watch fires for a change: the node watched or one
// below changed, and the watcher may read it. When a whole subtree goes, nodes
// below its top concern only who watches exactly them.
func (c *storeConn) concerns(w *storeWatch, ch change) bool {
	if ch.removed {
		if w.abs != ch.path {
			return false
		}
	} else if !isBelow(ch.path, w.abs) {
		return false
	}
	n := ch.perms
	if n == nil {
		n = c.s.tree.nearest(ch.path)
	}
	read, _ := n.allowed(c.d.ID)
	return read
}

// fireSpecial fires @releaseDomain and its like. As in xenstored since
// XSA-115, only domain 0 gets them.
func (s *store) fireSpecial(name string) {
	if c := s.conns[0]; c != nil {
		for _, w := range c.watches {
			if w.abs == name {
				c.event(w, name)
			}
		}
	}
}
