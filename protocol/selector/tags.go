package selector

import (
	"slices"
	"strings"
)

// CompileTags reads a list of tags: `a || b || c` matches messages whose header tag is one
// of them; `*` among them, or a blank text, every message. Blanks around a tag do not count.
func CompileTags(text string) (*Filter, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	tags, err := splitTags(text)
	if err != nil {
		return nil, err
	}
	b := newBuilder(KindTags)
	if slices.Contains(tags, "*") {
		b.f.normal, b.f.first = "*", accept
		return b.f, nil
	}
	list := newSet(tags)
	b.f.normal = strings.Join(list.sorted, " || ")
	b.f.first = b.emit(test{op: testIn, slot: b.slot(TagHeader), set: list}, accept, reject)
	return b.finish(), nil
}

// splitTags gives the tags of a text; of a blank one, `*`.
func splitTags(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return []string{"*"}, nil
	}
	var tags []string
	at := 0
	for part := range strings.SplitSeq(text, "||") {
		tag := strings.TrimSpace(part)
		if bar := strings.IndexByte(part, '|'); bar >= 0 {
			return nil, syntaxError(text, at+bar, "found a single |, expected || between two tags")
		}
		if tag == "" {
			return nil, syntaxError(text, at, "found no tag, expected one before and behind each ||; all tags are written *")
		}
		tags = append(tags, tag)
		at += len(part) + len("||")
	}
	return tags, nil
}
