package lan

import "sync/atomic"

// Counters is what a Port has done since it was opened.
type Counters struct {
	Sent     uint64 // frames that the kernel took
	Unsent   uint64 // frames that Send did not get out
	Adverts  uint64 // adverts delivered
	Answers  uint64 // answers delivered
	Overruns uint64 // frames the kernel dropped because nobody read in time

	// Dropped is indexed by Drop; Delivered is never counted.
	Dropped [drops]uint64
}

// Drops calls f for every reason there is, also those that never happened.
func (c *Counters) Drops(f func(reason Drop, frames uint64)) {
	for d := Delivered + 1; d < drops; d++ {
		f(d, c.Dropped[d])
	}
}

// counters are written by whoever reads and sends, and read by anybody.
type counters struct {
	sent, unsent, adverts, answers, overruns atomic.Uint64
	dropped                                  [drops]atomic.Uint64
}

// Counters may be called from any goroutine, also after Close.
func (p *Port) Counters() Counters {
	// Asking resets the kernel's own counter, so what it says is added up. A
	// closed port has nothing to add.
	if p.receiver != nil {
		p.count.overruns.Add(p.receiver.sock.overruns())
	}
	c := Counters{
		Sent:     p.count.sent.Load(),
		Unsent:   p.count.unsent.Load(),
		Adverts:  p.count.adverts.Load(),
		Answers:  p.count.answers.Load(),
		Overruns: p.count.overruns.Load(),
	}
	for d := range p.count.dropped {
		c.Dropped[d] = p.count.dropped[d].Load()
	}
	return c
}
