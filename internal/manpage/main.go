// Command manpage prints the manual page of the configuration file, which make man
// puts into docs/vrrpd.toml.5.
package main

import (
	"fmt"

	"vrrpd/config"
)

func main() { fmt.Print(config.Manual()) }
