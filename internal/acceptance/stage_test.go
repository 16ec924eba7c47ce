package acceptance

import (
	"sync"
	"testing"
)

// What has to happen within milliseconds is measured while the machine that the tests
// run on does nothing else: all network namespaces of a machine share the kernel's one
// lock for changes. But what a measurement needs, two machines that stand and have
// recovered, takes seconds of waiting. So these tests stand side by side on a stage: one
// after the other is measured while all the others keep quiet, and then they go on.
//
// Those at adverts of 1 s and those at shorter ones are apart, because all wait for the
// slowest; and what speaks every 10 ms is neither, because there even a stall of the
// machine is more than a lease: it has the machine for itself from the beginning.
type swiftOne struct {
	name string
	f    func(t *testing.T)
}

func TestSwift(t *testing.T) {
	for _, c := range []swiftOne{
		{"Tap_CarrierLost", tapCarrierLost},
		{"Point4_WholeMachineChanges", point4WholeMachineChanges},
		{"Judge_SendsFail", judgeSendsFail},
		{"Release_SpeaksFirst", releaseSpeaksFirst},
		{"Point4_LostResignation", point4LostResignation},
		{"Point6_BackupWithSuccessor", point6BackupWithSuccessor},
		{"Announce_Thousand", announceThousand},
		{"Flood", flooded},
		{"Overrun_StormOnTheMaster", overrunStormOnTheMaster},
		{"Overrun_Stopped", overrunStopped},
		{"Metrics_Storm", statusStorm},
		{"Metrics_StormInRealTime", statusStormInRealTime},
		{"HandOver_NoSuccessor", handOverNoSuccessor},
		{"Held_SendFailed", heldSendFailed},
		{"Repair_Master", repairMaster},
		{"Repair_Backup", repairBackup},
	} {
		t.Run(c.name, c.f)
	}
}

func TestSwiftAtOneSecond(t *testing.T) {
	for _, c := range []swiftOne{
		{"HandOver_LeavesNoHole", handOverLeavesNoHole},
		{"Asking_CablePulled", askingCablePulled},
		{"IPv6_CablePulled", ipv6CablePulled},
		{"Crash_OfOne", crashOfOne},
		{"Lease_PreemptedMasterHangs", leasePreemptedMasterHangs},
		{"Guard_Removed", guardRemoved},
		{"IPv6_SnoopingSwitch", ipv6SnoopingSwitch},
		{"IPv6_HandOverLeavesNoHole", ipv6HandOverLeavesNoHole},
	} {
		t.Run(c.name, c.f)
	}
}

// platform is where those tests stand. They move in turns: as soon as all who move have
// got ready to be measured, or have ended, they are measured one by one, and then all
// move again.
type platform struct {
	mu      sync.Mutex
	changed *sync.Cond
	members map[*testing.T]bool
	moving  int  // tests that set up machines, or have them recover
	ready   int  // tests that wait to be measured
	alone   bool // one is measured
}

func newPlatform() *platform {
	p := &platform{members: map[*testing.T]bool{}}
	p.changed = sync.NewCond(&p.mu)
	return p
}

var stage = newPlatform()

// onStage makes a test one of those that stand side by side on the stage.
func onStage(t *testing.T) {
	t.Helper()
	t.Parallel()
	stage.mu.Lock()
	defer stage.mu.Unlock()
	stage.members[t] = true
	stage.move()
	t.Cleanup(func() {
		stage.mu.Lock()
		defer stage.mu.Unlock()
		delete(stage.members, t)
		stage.moving--
		stage.changed.Broadcast()
	})
}

// move waits until those who are ready have been measured. The caller holds mu.
func (p *platform) move() {
	for p.alone || p.ready > 0 {
		p.changed.Wait()
	}
	p.moving++
}

// quietly does something while no other test on the stage moves: its machines have to be
// at rest. For a test that is not on the stage it is as if it were not there.
func quietly(t *testing.T, do func()) {
	t.Helper()
	p := stage
	p.mu.Lock()
	if !p.members[t] {
		p.mu.Unlock()
		do()
		return
	}
	p.moving--
	p.ready++
	p.changed.Broadcast()
	for p.alone || p.moving > 0 {
		p.changed.Wait()
	}
	p.ready--
	p.alone = true
	p.mu.Unlock()
	defer func() { // also of a test that has failed
		p.mu.Lock()
		defer p.mu.Unlock()
		p.alone = false
		p.changed.Broadcast()
		p.move()
	}()
	do()
}
