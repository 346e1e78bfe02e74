package scoring

import (
	"fmt"
	"slices"
	"strings"
)

// Reference returns what a policy file may say, as Markdown. It is made from the tables that
// Compile reads by, so that it cannot be wrong about them.
func Reference() string {
	var b strings.Builder
	for _, section := range []struct {
		title, text string
		rows        [][2]string
	}{
		{"Fields of a policy", "name and decisions are required. Unknown fields are refused.", referenceFields},
		{"Fields of a signal", "Each signal becomes a variable of its name: lower-case letters, digits and underscores, a letter first.", signalFields},
		{"Subjects and what they tell apart", "A distinct count exists for these pairs and for no other. It sees signup, verification and number_change only.", pairRows()},
		{"Events", "What count may count. The last four are outcomes, counted when they are reported.", wordRows(eventNames[1:])},
		{"Variables", "Besides the signals. What nobody gave is unknown: a rule that needs it does not fire, and the answer lists it under degraded.", variableRows()},
		{"Values of number.type", "A type that is none of these is never equal to anything.", wordRows(typeNames)},
		{"Decisions", "A score at or above the number decides so; of several, the strictest. Below all is allow.", decisionRows()},
	} {
		fmt.Fprintf(&b, "## %s\n%s\n\n", section.title, section.text)
		for _, row := range section.rows {
			if row[1] == "" {
				fmt.Fprintf(&b, "- `%s`\n", row[0])
				continue
			}
			fmt.Fprintf(&b, "- `%s`: %s\n", row[0], row[1])
		}
		b.WriteString("\n")
	}
	return b.String()
}

var referenceFields = [][2]string{
	{"name", "of the policy; lower-case letters, digits and underscores"},
	{"signals", fmt.Sprintf("what is measured, by name; at most %d", maxSignals)},
	{"limits.accounts_per_phone", "never more verified accounts on one number, 1 to 1000; left out: no limit"},
	{"score", fmt.Sprintf("rules, each with code and points, and either signal or when; at most %d. The score is their sum, kept within 0 and 100", maxRules)},
	{"score[].code", "UPPER_SNAKE, each once, none of " + strings.Join(reserved, ", ")},
	{"score[].signal", "a signal; points is then a table from the least value to points, such as {2: 10, 4: 30}: the highest line that is reached counts"},
	{"score[].when", fmt.Sprintf("a condition in CEL of at most %d bytes: comparisons, + - * /, && || !, ==, !=, and in with a list of literals; points is then one number", maxExpression)},
	{"score[].points", "whole numbers from -100 to 100, never 0"},
	{"decisions", "the least scores of challenge, review and block, 1 to 100, in this order from low to high"},
	{"holdout", "share from 0 to 1 of blocks by score that are let through, so that their outcome can be seen; drawn from the id of the event"},
}

var signalFields = [][2]string{
	{"subject", "whose history: see below"},
	{"count", "how many events or outcomes of a kind in the window"},
	{"distinct", "how many different members in the window"},
	{"links", "verified: accounts linked to the phone now; no window"},
	{"labels", "abuse or legitimate: events labelled so now; no window"},
	{"window", fmt.Sprintf("such as 90s, 15m, 1h or 30d, up to %s: what happened later than that long ago, this event included", FormatWindow(MaxWindow))},
}

func pairRows() [][2]string {
	var rows [][2]string
	for s := Phone; int(s) < len(subjectNames); s++ {
		var members []string
		for _, m := range Pairs(s) {
			members = append(members, m.String())
		}
		rows = append(rows, [2]string{s.String(), strings.Join(members, ", ")})
	}
	return rows
}

func wordRows(words []string) [][2]string {
	var rows [][2]string
	for _, w := range words {
		rows = append(rows, [2]string{w, ""})
	}
	return rows
}

// meanings explain the shared slots.
var meanings = map[int]string{
	SlotEvent: "the kind of event", SlotVerified: "this request says that the number was verified for the account",
	SlotPhoneVerified: "the number was ever verified for some account", SlotNumberValid: "the number can exist",
	SlotNumberRegion: "two letters, or 001 for numbers of no country", SlotNumberType: "the kind of line",
	SlotPhoneAgeDays: "days since the number was first seen", SlotIPCountry: "two letters, as the request gave them",
	SlotLinks: "accounts linked to the number", SlotLinked: "the account is linked to the number",
	SlotListDeny: "the number or its range is on the list deny", SlotListAllow: "the number or its range is on the list allow",
}

func variableRows() [][2]string {
	var rows [][2]string
	for slot, name := range sharedSlots {
		rows = append(rows, [2]string{name, celType(slotClasses[slot]).String() + "; " + meanings[slot]})
	}
	return append(rows, [2]string{"list.NAME", "bool; the number or its range is on that list"})
}

func decisionRows() [][2]string {
	var rows [][2]string
	for d, name := range slices.All(decisionNames) {
		if d > 0 {
			rows = append(rows, [2]string{name, "public_message " + PublicMessage(Decision(d))}) //nolint:gosec // four
		}
	}
	return rows
}
