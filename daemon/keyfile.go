package daemon

import "vrrpd/internal/trusted"

// maxKeyFile is more than any file of keys has.
const maxKeyFile = 64 << 10

// readKeyFile reads a file with a key in it. A key that others can read is none.
func readKeyFile(name string) ([]byte, error) { return trusted.Read(name, true, maxKeyFile) }
