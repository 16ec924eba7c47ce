package show

import (
	"vrrpd/control"
	"vrrpd/election"
)

// words say in plain language what a reason means. because continues
// "MASTER since 14:03:12, because"; sentence stands alone; do is what a person
// can do about it, "" if nothing need be done.
type words struct{ because, sentence, do string }

// wordsFor is the table; every reason of package election is in it.
func wordsFor(r election.Reason) words {
	switch r {
	case election.NoReason:
		return words{"no reason was recorded", "No reason was recorded.", ""}
	case election.Startup:
		return words{"vrrpd has just started", "vrrpd started on this machine, and listens before it takes part.", ""}
	case election.LinkDown:
		return words{"a link is down",
			"A link went down: it lost its carrier, or somebody switched the interface off. A machine that has lost one of its networks serves none.",
			"check the cable, the switch port, and: ip link show"}
	case election.ParentGone:
		return words{"an interface is gone",
			"An interface that carries a virtual router does not exist any more.",
			"bring the interface back, or correct vrrpd's -i"}
	case election.NoAddress:
		return words{"an interface has no address",
			"An interface has no address of its own to send adverts from.",
			"give the interface its address: ip address show"}
	case election.SendFailed:
		return words{"adverts cannot be sent",
			"Adverts could not be sent for longer than an interval, so the other routers do not hear this one.",
			"look for errors of the network card in the kernel's log"}
	case election.InterfaceFault:
		return words{"the virtual interface cannot be kept",
			"The interface with the virtual MAC cannot be set up, or something keeps changing it.",
			"the journal says which step the kernel refused, or what was changed again and again"}
	case election.CheckFailed:
		return words{"a check failed",
			"A configured check says that this machine is not fit to serve.",
			"mend what it watches, or the check: atropos --state says which one it is, and what it said last"}
	case election.MemberMissing:
		return words{"a vrrpd process is missing",
			"Fewer vrrpd processes are running here than -M asks for. The machine serves with all of its networks or with none.",
			"start the missing one, or correct -M"}
	case election.MemberDead:
		return words{"a vrrpd process died",
			"A vrrpd process of this machine died; the others resigned and cleaned up for it.",
			"the journal says why it died; start it again"}
	case election.MemberStuck:
		return words{"a vrrpd process does not move",
			"A vrrpd process of this machine is alive and does not move (stopped, or waiting for a disk); the others expelled it.",
			"find out what it waits for, then restart it"}
	case election.MemberLeft:
		return words{"a vrrpd process was stopped",
			"A vrrpd process of this machine is stopping or was stopped, and the machine changes as a whole.",
			"start it again, or correct -M"}
	case election.OperatorHold:
		return words{"the operator holds it",
			"The operator asked that this machine does not serve at all (atropos --hold).",
			"atropos --release ends it"}
	case election.IntervalDiffers:
		return words{"the intervals differ",
			"The vrrpd processes of this machine have different advertisement intervals and cannot move together.",
			"give all of them the same -d"}
	case election.Recovered:
		return words{"nothing is wrong any more",
			"Nothing was wrong any more and the hold-down was over, so this machine takes part in the election again.", ""}
	case election.MasterTimeout:
		return words{"the master fell silent",
			"The master fell silent: no acceptable advert was heard for a whole master-down interval.", ""}
	case election.MasterResigned:
		return words{"the master resigned",
			"The master resigned in order (priority 0), and nobody better was there.", ""}
	case election.Unanswered:
		return words{"the master resigned and nobody answers",
			"A master resigned on one network, and on the others nobody answers for the virtual addresses: its whole machine has left.", ""}
	case election.Preempted:
		return words{"the master had a lower priority",
			"The only master heard has a lower priority, and preemption is on.", ""}
	case election.Vetoed:
		return words{"a master was heard just in time",
			"An acceptable advert arrived while the promotion was being prepared, so nothing was taken over.", ""}
	case election.SuperiorAdvert:
		return words{"a router of higher priority speaks",
			"A router of higher priority speaks, so it serves and this machine does not.", ""}
	case election.TieLost:
		return words{"a router of the same priority has the higher address",
			"A router of the same priority speaks, and its address is the higher one, which decides.", ""}
	case election.OperatorBackup:
		return words{"the operator asked for it",
			"The operator asked this machine to go BACKUP (atropos --backup, or SIGUSR2).",
			"atropos --release lets it preempt again"}
	case election.Stop:
		return words{"vrrpd is being stopped",
			"vrrpd was told to stop, and hands over first.", ""}
	case election.Successor:
		return words{"the successor has taken over",
			"The successor's first advert was heard, so the hand-over is complete and nobody was without a gateway.", ""}
	case election.NoSuccessor:
		return words{"nobody else took over",
			"The hand-over ended and nobody had taken over.",
			"see whether vrrpd runs on the other machine, and whether the two hear each other"}
	case election.LeaseExpired:
		return words{"vrrpd was late and another router speaks",
			"vrrpd did not get to run for so long that its lease ended, and another router speaks by now.",
			"look for what kept the machine busy: load, swap, a hypervisor that paused it"}
	case election.Suspended:
		return words{"the machine was suspended",
			"The machine was suspended for longer than its lease, and first finds out who serves now.", ""}
	case election.MasterHeard:
		return words{"another router serves",
			"Another router is serving.", ""}
	case election.PeerDeaf:
		return words{"the other router does not hear us",
			"A router of lower priority goes on as MASTER: it does not hear our adverts, so two machines serve.",
			"look at its switch port, its firewall (protocol 112) and its VRRP version"}
	case election.OwnAddressHeard:
		return words{"our own address speaks elsewhere",
			"Adverts with our own source address arrive from the network.",
			"give one of the two machines another address, or look for a loop in the network"}
	case election.PriorityDiffers:
		return words{"the priorities differ",
			"The vrrpd processes of this machine have different priorities; the lowest counts.",
			"give all of them the same -p"}
	case election.PreemptDiffers:
		return words{"only some processes may preempt",
			"Only some vrrpd processes of this machine may preempt, so none does.",
			"give -s to all of them or to none"}
	case election.TooManyMembers:
		return words{"there are too many vrrpd processes",
			"More vrrpd processes share this machine's state than -M says.",
			"count them and correct -M"}
	case election.Partition:
		return words{"one network is silent",
			"One network is silent while a master is heard on another: the network between the machines is broken there.",
			"look at the switches between the two machines"}
	case election.MixedView:
		return words{"the networks disagree",
			"A master of lower priority is heard on one network and nobody on another; this machine does not preempt for now.",
			"a switch port may be blocked, by spanning tree for instance"}
	case election.PartitionOver:
		return words{"every network is heard again", "Every network is heard again.", ""}
	case election.SamePriorityPeer:
		return words{"another router has the same priority",
			"Another router has the same priority; the higher address becomes MASTER.",
			"give the machines different priorities (-p) if it matters which of them serves"}
	case election.StaysOut:
		return words{"a new virtual router meets another master",
			"A virtual router that was added to this machine stays out of it, because another master serves it.",
			"give the other machine the same configuration, or stop what serves there"}
	}
	return words{}
}

// about are the words for a reason on the wire; a word that only a newer vrrpd
// knows speaks for itself.
func about(word string) words {
	if r, ok := control.ParseReason(word); ok {
		if w := wordsFor(r); w.sentence != "" {
			return w
		}
	}
	word = Clean(word)
	return words{because: word, sentence: "The reason is " + word + ", which this atropos does not know."}
}
