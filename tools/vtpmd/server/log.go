package server

import (
	"encoding/binary"
	"time"
)

// LogLevel says how much is logged. Nothing of a command but its code is, at any level: parameters
// hold secrets.
type LogLevel int

// Levels, as --log level= has them. Without a level what goes wrong is logged.
const (
	LogEvents   LogLevel = 1  // start, power, end
	LogControl  LogLevel = 5  // requests of the control channel
	LogCommands LogLevel = 20 // TPM commands: code, sizes, response code, time
)

// debugf logs what a level asks for.
func (m *Machine) debugf(level LogLevel, format string, a ...any) {
	if m.cfg.LogLevel >= level {
		m.cfg.Logf(format, a...)
	}
}

// logged runs a command and logs it.
func (m *Machine) logged(locality uint8, cmd, rsp []byte) []byte {
	code := uint32(0) // none: the command is too short for one
	if len(cmd) >= 10 {
		code = binary.BigEndian.Uint32(cmd[6:])
	}
	size, start := len(cmd), time.Now()
	rsp = m.engine.Execute(locality, cmd, rsp)
	m.cfg.Logf("TPM command 0x%x of %d octets at locality %d: 0x%x, %d octets, %v",
		code, size, locality, binary.BigEndian.Uint32(rsp[6:]), len(rsp), time.Since(start).Round(time.Microsecond))
	return rsp
}
