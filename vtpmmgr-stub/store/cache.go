package store

import "container/list"

// cache keeps the nodes used last, by sector. It holds clean nodes only.
type cache struct {
	limit int
	order *list.List // of *cached, most recent first
	at    map[uint32]*list.Element
}

type cached struct {
	ref  ref
	node *node
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), at: make(map[uint32]*list.Element, limit)}
}

func (c *cache) get(r ref) *node {
	e := c.at[r.sector]
	if e == nil || e.Value.(*cached).ref != r {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).node
}

func (c *cache) put(r ref, n *node) {
	if e := c.at[r.sector]; e != nil {
		e.Value = &cached{r, n}
		c.order.MoveToFront(e)
		return
	}
	c.at[r.sector] = c.order.PushFront(&cached{r, n})
	if c.order.Len() > c.limit {
		last := c.order.Back()
		delete(c.at, last.Value.(*cached).ref.sector)
		c.order.Remove(last)
	}
}

func (c *cache) drop(sector uint32) {
	if e := c.at[sector]; e != nil {
		delete(c.at, sector)
		c.order.Remove(e)
	}
}
