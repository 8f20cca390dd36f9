package proto

// BackupRequest asks for the next part of a backup, nil for the first.
type BackupRequest struct {
	After []byte `json:"after,omitempty"`
}

// PartID says which part of which backup a box is. The box opens under exactly
// these values: parts cannot be exchanged, left out or taken from another backup.
type PartID struct {
	Backup UUID   `json:"backup"` // zero: made by a manager that numbered no parts
	Part   uint32 `json:"part"`   // from 0
	Last   bool   `json:"last,omitempty"`
	Total  uint64 `json:"total,omitempty"` // vTPMs in all parts; with the last one
}

// BackupPart is a part of a backup. Box opens with the root key only.
type BackupPart struct {
	PartID
	Header []byte `json:"header,omitempty"` // with the first part
	Box    []byte `json:"box"`
	After  []byte `json:"after,omitempty"` // to ask for the next; empty: this is the last
}

// Restore gives a part of a backup back. The parts of a backup are checked, in
// order and to the end, before any of them is restored, unless Partial says that
// what is there is wanted although it is not all.
type Restore struct {
	PartID
	Box          []byte `json:"box"`
	Check        bool   `json:"check,omitempty"`         // change nothing
	Partial      bool   `json:"partial,omitempty"`       // the backup is not whole, or too old to show it
	Overwrite    bool   `json:"overwrite"`               // replace vTPMs that exist
	DefaultGroup bool   `json:"default_group,omitempty"` // where the vTPM's group does not exist
	Release      []byte `json:"release,omitempty"`       // hwtpm.Release of vTPMs that leave their group
}

// Restored is the answer.
type Restored struct {
	Restored int      `json:"restored"`
	Kept     int      `json:"kept"`              // existed, and was not overwritten
	Refused  int      `json:"refused,omitempty"` // the group is closed, or its authority did not let it go
	Why      []string `json:"why,omitempty"`     // of the first refusals
}
