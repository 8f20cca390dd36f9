package manager

import "xenvtpm/vtpmmgr-stub/proto"

// adminRequest serves the administrator's frontend only.
func (m *Manager) adminRequest(req *Request, r proto.Request) answer {
	if !req.Admin {
		m.event(EventNotAdmin, req, "administration refused: not the administrator's frontend")
		return answer{result: proto.AuthFail}
	}
	return answer{result: proto.BadOrdinal}
}
