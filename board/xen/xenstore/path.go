package xenstore

import (
	"fmt"
	"strings"

	"xenvtpm/board/xen/abi"
)

// CheckPath reports whether xenstore could have a node of that name: absolute,
// or relative to the domain's own directory.
func CheckPath(path string) error {
	if path == "/" {
		return nil
	}
	limit := abi.XENSTORE_REL_PATH_MAX
	if strings.HasPrefix(path, "/") {
		limit = abi.XENSTORE_ABS_PATH_MAX
	}
	if path == "" || len(path) > limit {
		return fmt.Errorf("xenstore: %w: %d bytes long", ErrInvalidPath, len(path))
	}
	if strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		return fmt.Errorf("xenstore: %w: %q has an empty element", ErrInvalidPath, path)
	}
	for i := range len(path) {
		if !pathByte(path[i]) {
			return fmt.Errorf("xenstore: %w: %q", ErrInvalidPath, path)
		}
	}
	return nil
}

func pathByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '/' || c == '_' || c == '@'
}

// checkWatchPath also takes the special watches, such as @releaseDomain.
func checkWatchPath(path string) error {
	name, special := strings.CutPrefix(path, "@")
	if special && strings.Contains(name, "/") {
		return fmt.Errorf("xenstore: %w: %q", ErrInvalidPath, path)
	}
	return CheckPath(name)
}

// cutNUL is b up to its first NUL, as a string.
func cutNUL(b []byte) string {
	s := string(b)
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}
