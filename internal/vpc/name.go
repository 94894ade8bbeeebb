package vpc

import (
	"strings"

	"sallyport.dev/sallyport/internal/apierr"
)

// textMax is the most characters of a group's name or description and of a
// rule's description.
const textMax = 255

// textSet is the characters that names and descriptions may hold, as EC2's
// messages print them (two blanks before it in theirs).
const textSet = `a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*`

// CheckGroupName answers EC2's error for a VPC group's name that the guide
// forbids. The caller has trimmed trailing blanks and refused an empty one.
func CheckGroupName(name string) error {
	switch {
	case strings.HasPrefix(strings.ToLower(name), "sg-"):
		return errNameLikeID(name)
	case !ascii(name):
		return errNotASCII("GroupName", name)
	case len(name) > textMax || !inTextSet(name):
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid security group name. Valid names are non-empty strings less than 256 characters from the following set:  %s", textSet)
	case NameKey(name) == DefaultGroupName, NameKey(name) == LegacyGroupName:
		return apierr.New(apierr.CodeInvalidParameterValue, "Cannot use reserved security group name: %s", NameKey(name))
	}
	return nil
}

func errNameLikeID(name string) error {
	return apierr.New(apierr.CodeInvalidParameterValue,
		"Value (%s) for parameter GroupName is invalid. Group names may not be in the format sg-*.", name)
}

func errNotASCII(param, text string) error {
	return apierr.New(apierr.CodeInvalidParameterValue,
		"Value (%s) for parameter %s is invalid. Character sets beyond ASCII are not supported.", text, param)
}

// CheckGroupDescription answers EC2's error for a group's description that the
// guide forbids.
func CheckGroupDescription(text string) error {
	switch {
	case !ascii(text):
		return errNotASCII("GroupDescription", text)
	case len(text) > textMax || !inTextSet(text):
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid security group description. Valid descriptions are strings less than 256 characters from the following set:  %s", textSet)
	}
	return nil
}

// CheckRuleDescription answers EC2's error for a rule's description that the
// guide forbids; an empty one is fine.
func CheckRuleDescription(text string) error {
	if len(text) > textMax || !inTextSet(text) {
		return apierr.New(apierr.CodeInvalidParameterValue,
			"Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  %s", textSet)
	}
	return nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func inTextSet(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(" ._-:/()#,@[]+=&;{}!$*", c) >= 0:
		default:
			return false
		}
	}
	return true
}
