package live

import (
	"encoding/json"
	"fmt"
	"slices"

	"corun/store"
)

// Kinds of entries in a room's log that say who was there and who drove.
const (
	KindOpen   = "open" // nobody was there before: written for who comes first
	KindJoin   = "join"
	KindLeave  = "leave"
	KindRemove = "remove"
	KindRename = "rename"
	KindDriver = "driver"
)

// PeopleKinds are those that PeopleOf reads.
var PeopleKinds = []string{KindOpen, KindJoin, KindLeave, KindRemove, KindRename, KindDriver}

// PeopleOf works out from a room's events, oldest first, who is there after them, and who
// drives.
func PeopleOf(events []store.Event) (people []Participant, driver *string, err error) {
	people = []Participant{}
	for _, e := range events {
		var data struct {
			Participant Participant `json:"participant"`
			Driver      *string     `json:"driver"`
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return nil, nil, fmt.Errorf("event %d: %w", e.ID, err)
		}
		same := func(p Participant) bool { return p.ID == data.Participant.ID }
		switch e.Kind {
		case KindOpen:
			people, driver = people[:0], nil
		case KindJoin, KindRename:
			if i := slices.IndexFunc(people, same); i >= 0 {
				people[i] = data.Participant
			} else if e.Kind == KindJoin {
				people = append(people, data.Participant)
			}
		case KindLeave, KindRemove:
			people = slices.DeleteFunc(people, same)
		case KindDriver:
			driver = data.Driver
		}
	}
	return people, driver, nil
}
