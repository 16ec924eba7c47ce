package config

// unsupported refuses, in one honest sentence each, what the interface knows
// and this release does not do yet. This is the only place that does: a line
// goes when its feature comes.
func (f *form) unsupported() error {
	switch {
	case f.Mode == Release:
		return nil
	case f.router.NoVMAC:
		return usagef("-n (--no-vmac): to run without the virtual MAC is not in this release; leave it away")
	}
	return nil
}
