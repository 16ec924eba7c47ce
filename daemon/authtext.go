package daemon

import (
	"fmt"

	"vrrpd/config"
	"vrrpd/vrrp"
)

// authWords say why a peer's adverts fail our authentication ("because ..."), and what
// to do; false for what has nothing to do with it.
func authWords(ours config.Router, why vrrp.Drop, seen *vrrp.Advert) (words, bool) {
	const same = "give both machines the same -a"
	kind := ours.Auth.Kind
	switch why {
	case vrrp.DropAuthType:
		return words{fmt.Sprintf("it uses %s, and we use %s", typeWords(seen.AuthType), kindWords(kind)), same}, true
	case vrrp.DropAuth:
		switch kind {
		case vrrp.PasswordAuth:
			return words{"it has another password", same + " (keepalived uses the first 8 characters of its auth_pass)"}, true
		case vrrp.HeaderAuth:
			return words{"it has another key, or something changes them on the way", same + " (keepalived uses the first 8 characters of its auth_pass)"}, true
		}
		return words{"it has another key under the same id, or something changes them on the way", same}, true
	case vrrp.DropAuthMissing:
		return words{"they are not signed", "give that machine the same -a hmac, or run this one with --auth-mode permissive until it has it"}, true
	case vrrp.DropAuthMalformed:
		return words{"what authenticates them is of a kind that is not known here", "see what sends them; keepalived has to be 2.4.2 or newer"}, true
	case vrrp.DropAuthStale:
		return words{"its clock differs from ours by more than the window, or they were recorded", "set both clocks (NTP), or give both machines a larger --auth-window"}, true
	case vrrp.DropAuthUnknownKey:
		return words{"they are signed with a key id that we do not have", "give every machine the new key before one of them signs with it"}, true
	case vrrp.DropAuthReplay:
		return words{"their numbers were used before", "look for somebody who sends recorded ones and for a network that doubles frames; if that machine has only forgotten its numbers in a restart, it heals as soon as it hears ours"}, true
	case vrrp.DropLength:
		if kind != vrrp.TrailerAuth {
			return words{"they are longer or shorter than they state", "if that machine signs them, give this one the same -a hmac/ID:KEY"}, true
		}
	}
	return words{}, false
}

func typeWords(authType uint8) string {
	switch authType {
	case vrrp.AuthNone:
		return "no authentication"
	case vrrp.AuthPassword:
		return "a password"
	case vrrp.AuthHeader:
		return "an authentication header (ah)"
	}
	return fmt.Sprintf("authentication type %d", authType)
}

func kindWords(k vrrp.AuthKind) string {
	switch k {
	case vrrp.PasswordAuth:
		return typeWords(vrrp.AuthPassword)
	case vrrp.HeaderAuth:
		return typeWords(vrrp.AuthHeader)
	case vrrp.TrailerAuth:
		return "a trailer (hmac)"
	}
	return typeWords(vrrp.AuthNone)
}
