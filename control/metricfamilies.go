package control

import (
	"maps"
	"slices"
	"strings"

	"vrrpd/election"
)

const (
	counter = "counter"
	gauge   = "gauge"
)

// metricFamilies are all metrics, in the order of a scrape: of the process, of the
// machine (a group), of virtual routers, of what they stand on, of checks and commands.
var metricFamilies = []family{
	{"build_info", gauge, "Version of vrrpd; the value is always 1.", true, func(m *metricWriter, st *Status) {
		m.sample(1, "version", strings.TrimPrefix(st.Program, "vrrpd "), "goversion", goVersion())
	}},
	{"goroutines", gauge, "Goroutines of the process.", true, func(m *metricWriter, st *Status) { m.sample(float64(st.Goroutines)) }},
	{"heap_live_bytes", gauge, "Memory that the last garbage collection has found in use.", true,
		func(m *metricWriter, st *Status) { m.count(st.HeapLive) }},

	{"log_records_lost_total", counter, "Records of the log that could not be written.", true,
		func(m *metricWriter, st *Status) { m.count(st.LogLost) }},

	{"start_time_seconds", gauge, "When the group was started, in seconds since the epoch of Unix.", false,
		ofGroup(func(st *Status) float64 { return timestamp(st.Started) })},
	{"state", gauge, "State of the machine: 1 for the one that it is in.", false, func(m *metricWriter, st *Status) {
		for _, p := range phases() {
			m.flag(p == st.Machine.Phase, "group", st.Machine.Group, "state", p)
		}
	}},
	{"master", gauge, "Whether this machine serves the virtual addresses.", false,
		ofGroup(func(st *Status) float64 { return number(st.Machine.State == election.Master.String()) })},
	{"last_transition_timestamp_seconds", gauge, "When the machine came into its state, in seconds since the epoch of Unix.", false,
		ofGroup(func(st *Status) float64 { return timestamp(st.Machine.Since) })},
	{"transitions_total", counter, "Transitions of the machine, by the state that it came to and the reason.", false,
		func(m *metricWriter, st *Status) {
			for _, c := range st.Counts {
				m.count(c.Count, "group", st.Machine.Group, "state", c.To, "reason", c.Reason)
			}
		}},
	{"priority", gauge, "Priority of the machine in force.", false,
		ofGroup(func(st *Status) float64 { return float64(st.Machine.Priority.Effective) })},
	{"priority_configured", gauge, "Priority of the machine as configured.", false,
		ofGroup(func(st *Status) float64 { return float64(st.Machine.Priority.Configured) })},
	{"priority_checks", gauge, "What checks add to the priority.", false,
		ofGroup(func(st *Status) float64 { return float64(st.Machine.Priority.Checks) })},
	{"held", gauge, "Whether the machine must not be elected.", false,
		ofGroup(func(st *Status) float64 { return number(held(st)) })},
	{"hold_reason", gauge, "Why the machine is held: 1 for each reason that does, no series otherwise.", false, holdReasons},
	{"hold_down_remaining_seconds", gauge, "For how long the hold-down lasts if nothing else holds the machine.", false,
		ofGroup(func(st *Status) float64 { return seconds(float64(st.Machine.HeldMS)) })},
	{"operator_wish", gauge, "Whether an operator has asked for it (atropos --backup, --hold) and not released it.", false,
		func(m *metricWriter, st *Status) {
			m.flag(st.Machine.Wishes.Soft, "group", st.Machine.Group, "wish", string(Backup))
			m.flag(st.Machine.Wishes.Hold, "group", st.Machine.Group, "wish", string(Hold))
		}},
	{"processes", gauge, "Processes of the group that are alive on this machine.", false,
		ofGroup(func(st *Status) float64 { return float64(st.Machine.Processes.Alive) })},
	{"processes_wanted", gauge, "Processes that the group needs.", false,
		ofGroup(func(st *Status) float64 { return float64(st.Machine.Processes.Wanted) })},
	{"alarms_active", gauge, "Alarms that last, by reason; no series for a reason that has none.", false, activeAlarms},

	{"router_info", gauge, "What a virtual router is; the value is always 1.", false,
		eachRouter(func(m *metricWriter, r *Router, labels []string) {
			auth := "none"
			if r.Authentication != nil {
				auth = r.Authentication.Type
			}
			m.sample(1, append(labels, "parent", r.Parent, "version", r.Version, "authentication", auth)...)
		})},
	{"router_master", gauge, "Whether the virtual router is MASTER here.", false,
		ofRouter(func(r *Router) float64 { return number(r.State == StateName(election.Master)) })},
	{"router_priority", gauge, "Priority that the adverts of the virtual router have.", false,
		ofRouter(func(r *Router) float64 { return float64(r.EffectivePriority) })},
	{"advert_interval_seconds", gauge, "Time between adverts.", false,
		ofRouter(func(r *Router) float64 { return seconds(r.AdvertiseIntervalMS) })},
	{"master_down_interval_seconds", gauge, "Silence after which a MASTER counts as gone.", false,
		ofRouter(func(r *Router) float64 { return seconds(r.MasterDownIntervalMS) })},
	{"lease_remaining_seconds", gauge, "For how long the kernel lets this machine serve if no other advert is sent; 0: it does not serve, or nothing enforces it.", false,
		ofRouter(func(r *Router) float64 { return seconds(float64(r.Lease.RemainingMS)) })},
	{"lease_guard_info", gauge, "What enforces the lease; the value is always 1.", false,
		eachRouter(func(m *metricWriter, r *Router, labels []string) {
			m.sample(1, append(labels, "rung", r.Lease.Rung)...)
		})},
	{"promotions_total", counter, "How often the virtual router became MASTER.", false,
		ofCounter(func(s *Statistics) uint64 { return s.MasterTransitions })},
	{"adverts_sent_total", counter, "Adverts that were sent.", false,
		ofCounter(func(s *Statistics) uint64 { return s.AdvertisementSent })},
	{"advert_send_errors_total", counter, "Adverts that could not be sent.", false,
		ofCounter(func(s *Statistics) uint64 { return s.SendErrors })},
	{"adverts_received_total", counter, "Adverts that were accepted.", false,
		ofCounter(func(s *Statistics) uint64 { return s.AdvertisementRcvd })},
	{"adverts_dropped_total", counter, "Adverts for the virtual router that were not accepted, by reason.", false,
		eachRouter(func(m *metricWriter, r *Router, labels []string) {
			for why, n := range r.Statistics.Own.Drops() {
				if n > 0 {
					m.count(n, append(labels, "reason", why.String())...)
				}
			}
		})},
	{"resignations_sent_total", counter, "Adverts of priority 0 that were sent.", false,
		ofCounter(func(s *Statistics) uint64 { return s.PriorityZeroSent })},
	{"resignations_received_total", counter, "Adverts of priority 0 that were accepted.", false,
		ofCounter(func(s *Statistics) uint64 { return s.PriorityZeroRcvd })},
	{"announcements_sent_total", counter, "Gratuitous ARP and unsolicited neighbour advertisements that were sent.", false,
		ofCounter(func(s *Statistics) uint64 { return s.GARPSent + s.UNASent })},
	{"repairs_total", counter, "Repairs of what others have done to the virtual interface.", false,
		ofCounter(func(s *Statistics) uint64 { return s.Repairs })},

	{"parent_packets_dropped_total", counter, "Packets on a parent interface that are for no virtual router of the group, or cannot be told one, by reason.", false,
		func(m *metricWriter, st *Status) {
			for _, p := range st.Parents {
				for _, why := range slices.Sorted(maps.Keys(p.Drops)) {
					m.count(p.Drops[why], "group", st.Machine.Group, "parent", p.Interface, "reason", why)
				}
			}
		}},

	{"check_state", gauge, "State of a check: 1 for the one that it is in.", false,
		eachCheck(func(m *metricWriter, c *Check, labels []string) {
			for _, s := range [...]string{"pending", "passing", "failing"} {
				m.flag(s == c.State, append(labels, "state", s)...)
			}
		})},
	{"check_weight", gauge, "What the check changes the priority by; 0: it holds the machine.", false,
		eachCheck(func(m *metricWriter, c *Check, labels []string) { m.sample(float64(c.Weight), labels...) })},
	{"check_observations_total", counter, "Looks of the check.", false,
		eachCheck(func(m *metricWriter, c *Check, labels []string) { m.count(c.Observations, labels...) })},
	{"check_failures_total", counter, "Looks of the check that found something wrong.", false,
		eachCheck(func(m *metricWriter, c *Check, labels []string) { m.count(c.Failures, labels...) })},

	{"hook_running", gauge, "Whether the command of a state is running.", false,
		eachHook(func(m *metricWriter, h *HookResult, labels []string) { m.flag(h.Running, labels...) })},
	{"hook_failed", gauge, "Whether the last run of the command of a state failed.", false,
		eachHook(func(m *metricWriter, h *HookResult, labels []string) {
			m.flag(!h.Running && (h.Error != "" || h.ExitCode != 0), labels...)
		})},
	{"hook_duration_seconds", gauge, "How long the last run of the command of a state took.", false,
		eachHook(func(m *metricWriter, h *HookResult, labels []string) { m.sample(seconds(float64(h.MS)), labels...) })},
}

func held(st *Status) bool { return st.Machine.Phase == election.Held.String() }

// holdReasons are the faults of the members, and what else holds the machine: each
// reason once, however many members have it.
func holdReasons(m *metricWriter, st *Status) {
	if !held(st) {
		return
	}
	all := map[string]bool{st.Machine.Reason: true}
	for _, f := range st.Machine.Faults {
		all[f.Reason] = true
	}
	for _, why := range slices.Sorted(maps.Keys(all)) {
		m.sample(1, "group", st.Machine.Group, "reason", why)
	}
}

func activeAlarms(m *metricWriter, st *Status) {
	all := map[string]uint64{}
	for _, a := range st.Machine.Alarms {
		all[a.Reason]++
	}
	for _, why := range slices.Sorted(maps.Keys(all)) {
		m.count(all[why], "group", st.Machine.Group, "reason", why)
	}
}

func eachCheck(sample func(m *metricWriter, c *Check, labels []string)) func(*metricWriter, *Status) {
	return func(m *metricWriter, st *Status) {
		for i := range st.Checks {
			c := &st.Checks[i]
			sample(m, c, []string{"group", st.Machine.Group, "check", c.Name, "kind", c.Kind})
		}
	}
}

// eachHook: a command is known by whose it is and when it runs; what it is, is
// nobody's label.
func eachHook(sample func(m *metricWriter, h *HookResult, labels []string)) func(*metricWriter, *Status) {
	return func(m *metricWriter, st *Status) {
		for i := range st.Hooks {
			h := &st.Hooks[i]
			sample(m, h, []string{"group", st.Machine.Group, "interface", h.Interface, "state", h.State})
		}
	}
}
