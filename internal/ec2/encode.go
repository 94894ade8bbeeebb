package ec2

import (
	"time"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/apierr"
)

// ContentType is that of every response.
const ContentType = "text/xml;charset=UTF-8"

const (
	declaration  = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// AppendResponse appends the body of a success. A nil response is for actions without output and for answers in
// which nothing is set. The version is the one that the client asked for.
func AppendResponse(dst []byte, a Action, v Version, requestID string, r Response) []byte {
	if r == nil && !a.Output {
		r = Return{}
	}
	dst = append(dst, declaration...)
	dst = append(dst, '<')
	dst = append(dst, a.Name...)
	dst = append(dst, `Response xmlns="`...)
	if a.Service == ServiceSTS {
		dst = append(dst, stsNamespace...)
		dst = append(dst, `"><`...)
		dst = append(dst, a.Name...)
		dst = append(dst, "Result>"...)
		if r != nil {
			dst = r.appendResponse(dst)
		}
		dst = append(dst, "</"...)
		dst = append(dst, a.Name...)
		dst = append(dst, "Result><ResponseMetadata><RequestId>"...)
		dst = appendText(dst, requestID)
		dst = append(dst, "</RequestId></ResponseMetadata>"...)
	} else {
		dst = append(dst, "http://ec2.amazonaws.com/doc/"...)
		dst = appendText(dst, string(v))
		dst = append(dst, `/"><requestId>`...)
		dst = appendText(dst, requestID)
		dst = append(dst, "</requestId>"...)
		if r != nil {
			dst = r.appendResponse(dst)
		}
	}
	dst = append(dst, "</"...)
	dst = append(dst, a.Name...)
	return append(dst, "Response>"...)
}

// AppendError appends the body of a refusal, in the service's own envelope.
func AppendError(dst []byte, s Service, requestID string, e *apierr.Error) []byte {
	dst = append(dst, declaration...)
	if s == ServiceSTS {
		fault := "Sender"
		if Status(e.Code) >= statusInternal {
			fault = "Receiver"
		}
		dst = append(dst, `<ErrorResponse xmlns="`+stsNamespace+`"><Error><Type>`...)
		dst = append(dst, fault...)
		dst = append(dst, "</Type>"...)
		dst = appendCodeMessage(dst, e)
		dst = append(dst, "</Error><RequestId>"...)
		dst = appendText(dst, requestID)
		return append(dst, "</RequestId></ErrorResponse>"...)
	}
	dst = append(dst, "<Response><Errors><Error>"...)
	dst = appendCodeMessage(dst, e)
	dst = append(dst, "</Error></Errors><RequestID>"...)
	dst = appendText(dst, requestID)
	return append(dst, "</RequestID></Response>"...)
}

func appendCodeMessage(dst []byte, e *apierr.Error) []byte {
	dst = append(dst, "<Code>"...)
	dst = appendText(dst, string(e.Code))
	dst = append(dst, "</Code><Message>"...)
	dst = appendText(dst, e.Message)
	return append(dst, "</Message>"...)
}

// appendText appends text so that an XML 1.0 parser reads it back as it is. What XML cannot carry (most control
// characters, U+FFFE, U+FFFF, bytes that are not UTF-8) becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '&' && c != '<' && c != '>' && c != '"' && c != '\'' || c == '\t' || c == '\n' {
			i++
			continue
		}
		size := 1
		var instead string
		switch {
		case c == '&':
			instead = "&amp;"
		case c == '<':
			instead = "&lt;"
		case c == '>':
			instead = "&gt;"
		case c == '"':
			instead = "&quot;"
		case c == '\'':
			instead = "&#39;"
		case c == '\r':
			instead = "&#13;" // bare, parsers would read a newline
		case c < ' ':
			instead = "\uFFFD"
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r != 0xFFFE && r != 0xFFFF && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
			instead = "\uFFFD"
		}
		dst = append(dst, s[from:i]...)
		dst = append(dst, instead...)
		i += size
		from = i
	}
	return append(dst, s[from:]...)
}

func appendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}
