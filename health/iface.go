package health

import "context"

// followInterface tells whether the interface carries frames.
func (w *watch) followInterface(ctx context.Context, tell func(observation)) {
	for {
		if is, told := w.iface(); told {
			tell(is.carries(w.check.Interface))
		}
		select {
		case <-ctx.Done():
			return
		case <-w.bell:
		}
	}
}

func (i *Interface) carries(name string) observation {
	switch l := i.Link; {
	case l.Index == 0:
		return bad("%s does not exist", name)
	case !l.Up:
		return bad("%s is down", name)
	case !l.Carrier():
		return bad("%s has no carrier", name)
	}
	return good("%s is up", name)
}
