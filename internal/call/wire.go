package call

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/vpc"
)

// ARN is the name of a resource; resourceType is like security-group.
func ARN(s vpc.Scope, resourceType, id string) string {
	return "arn:aws:ec2:" + string(s.Region) + ":" + string(s.Account) + ":" + resourceType + "/" + id
}

// Text is a string parameter; absent and empty are the same.
func Text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Optional is a string for a response: absent if it is empty.
func Optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// TimeText is a time as it stands in responses, which filters compare with.
func TimeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Amount is a number for a response.
func Amount(n int) *int32 { return new(int32(n)) }

// Decimal is a number as filters compare with it.
func Decimal(n int) string { return strconv.Itoa(n) }

// Joined spells things one after another, for a message.
func Joined[T any](things []T) string {
	out := make([]string, len(things))
	for i := range things {
		out[i] = fmt.Sprint(things[i])
	}
	return strings.Join(out, ", ")
}

// Yes is an optional boolean; absent is false.
func Yes(b *bool) bool { return b != nil && *b }
