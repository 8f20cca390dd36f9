package abi

// Event-channel operations (event_channel.h).
const (
	EVTCHNOP_bind_interdomain = 0
	EVTCHNOP_bind_virq        = 1
	EVTCHNOP_close            = 3
	EVTCHNOP_send             = 4
	EVTCHNOP_status           = 5
	EVTCHNOP_alloc_unbound    = 6
	EVTCHNOP_unmask           = 9
	EVTCHNOP_reset            = 10
)

// struct evtchn_bind_interdomain: u16 remote_dom, pad, u32 remote_port, out u32 local_port.
const (
	EvtchnBindInterdomainSize       = 12
	EvtchnBindInterdomainRemoteDom  = 0
	EvtchnBindInterdomainRemotePort = 4
	EvtchnBindInterdomainLocalPort  = 8
)

// struct evtchn_alloc_unbound: u16 dom, u16 remote_dom, out u32 port.
const (
	EvtchnAllocUnboundSize      = 8
	EvtchnAllocUnboundDom       = 0
	EvtchnAllocUnboundRemoteDom = 2
	EvtchnAllocUnboundPort      = 4
)

// struct evtchn_close, evtchn_send, evtchn_unmask: u32 port.
const EvtchnPortSize = 4
