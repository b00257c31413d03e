package main

import "fmt"

// A protocol formats requests and answers of plain text. Texts contain no character that JSON would
// escape. Formats: the providers' public API references.
type protocol struct {
	path string
	// request returns the body: a long first message, a short answer, and a last message.
	request func(model, first, last string, stream bool) string
	// Markers of stream lines that contain tokens, and of the last line.
	tokenMark, endMark string

	opening func(model string) string
	token   func(model string, number int, text string) string
	ending  func(model, text string, tokens int) string
	whole   func(model, text string, tokens int) string
}

var protocols = map[string]protocol{
	"chat": {
		path: "/v1/chat/completions",
		request: func(model, first, last string, stream bool) string {
			return fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"system","content":"You are terse."},{"role":"user","content":%q},{"role":"assistant","content":"Go on."},{"role":"user","content":%q}]}`, model, stream, first, last)
		},
		tokenMark: `"delta"`,
		endMark:   `[DONE]`,
		opening: func(model string) string {
			return chatChunk(model, `{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}`, "")
		},
		token: func(model string, _ int, text string) string {
			return chatChunk(model, `{"index":0,"delta":{"content":"`+text+`"},"finish_reason":null}`, "")
		},
		ending: func(model, _ string, tokens int) string {
			return chatChunk(model, `{"index":0,"delta":{},"finish_reason":"stop"}`, "") +
				chatChunk(model, "", `,"usage":`+chatUsage(tokens)) + "data: [DONE]\n\n"
		},
		whole: func(model, text string, tokens int) string {
			return fmt.Sprintf(`{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"%s","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":%s}`, model, text, chatUsage(tokens))
		},
	},
	"responses": {
		path: "/v1/responses",
		request: func(model, first, last string, stream bool) string {
			return fmt.Sprintf(`{"model":%q,"stream":%t,"store":false,"instructions":"You are terse.","input":[{"role":"user","content":%q},{"role":"assistant","content":"Go on."},{"role":"user","content":%q}]}`, model, stream, first, last)
		},
		tokenMark: `"response.output_text.delta"`,
		endMark:   `"response.completed"`,
		opening: func(model string) string {
			empty := responsesDocument(model, "in_progress", "[]", "null")
			return frame("response.created", `"sequence_number":0,"response":`+empty) +
				frame("response.in_progress", `"sequence_number":1,"response":`+empty) +
				frame("response.output_item.added", `"sequence_number":2,"output_index":0,"item":`+responsesItem("in_progress", "[]")) +
				frame("response.content_part.added", `"sequence_number":3,`+responsesPlace+`,"part":`+responsesText(""))
		},
		token: func(_ string, number int, text string) string {
			return frame("response.output_text.delta", fmt.Sprintf(`"sequence_number":%d,%s,"delta":"%s","logprobs":[]`, 4+number, responsesPlace, text))
		},
		ending: func(model, text string, tokens int) string {
			part := responsesText(text)
			item := responsesItem("completed", "["+part+"]")
			whole := responsesDocument(model, "completed", "["+item+"]", responsesUsage(tokens))
			next := 4 + tokens
			return frame("response.output_text.done", fmt.Sprintf(`"sequence_number":%d,%s,"text":"%s","logprobs":[]`, next, responsesPlace, text)) +
				frame("response.content_part.done", fmt.Sprintf(`"sequence_number":%d,%s,"part":%s`, next+1, responsesPlace, part)) +
				frame("response.output_item.done", fmt.Sprintf(`"sequence_number":%d,"output_index":0,"item":%s`, next+2, item)) +
				frame("response.completed", fmt.Sprintf(`"sequence_number":%d,"response":%s`, next+3, whole))
		},
		whole: func(model, text string, tokens int) string {
			item := responsesItem("completed", "["+responsesText(text)+"]")
			return responsesDocument(model, "completed", "["+item+"]", responsesUsage(tokens))
		},
	},
	"messages": {
		path: "/v1/messages",
		request: func(model, first, last string, stream bool) string {
			return fmt.Sprintf(`{"model":%q,"stream":%t,"max_tokens":4096,"system":"You are terse.","messages":[{"role":"user","content":%q},{"role":"assistant","content":"Go on."},{"role":"user","content":%q}]}`, model, stream, first, last)
		},
		tokenMark: `"text_delta"`,
		endMark:   `"message_stop"`,
		opening: func(model string) string {
			return frame("message_start", `"message":`+messagesDocument(model, "[]", "null", 1)) +
				frame("content_block_start", `"index":0,"content_block":{"type":"text","text":""}`)
		},
		token: func(_ string, _ int, text string) string {
			return frame("content_block_delta", `"index":0,"delta":{"type":"text_delta","text":"`+text+`"}`)
		},
		ending: func(_, _ string, tokens int) string {
			return frame("content_block_stop", `"index":0`) +
				frame("message_delta", fmt.Sprintf(`"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":%d}`, tokens)) +
				"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
		},
		whole: func(model, text string, tokens int) string {
			return messagesDocument(model, `[{"type":"text","text":"`+text+`"}]`, `"end_turn"`, tokens)
		},
	},
}

// frame returns a server-sent event whose name is also its document's type.
func frame(name, fields string) string {
	return "event: " + name + "\ndata: {\"type\":\"" + name + "\"," + fields + "}\n\n"
}

func chatChunk(model, choice, more string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"` + model + `","choices":[` + choice + `]` + more + "}\n\n"
}

func chatUsage(tokens int) string {
	return fmt.Sprintf(`{"prompt_tokens":10,"completion_tokens":%d,"total_tokens":%d}`, tokens, 10+tokens)
}

const responsesPlace = `"item_id":"msg_1","output_index":0,"content_index":0`

func responsesText(text string) string {
	return `{"type":"output_text","text":"` + text + `","annotations":[],"logprobs":[]}`
}

func responsesItem(status, content string) string {
	return `{"id":"msg_1","type":"message","status":"` + status + `","role":"assistant","content":` + content + `}`
}

func responsesUsage(tokens int) string {
	return fmt.Sprintf(`{"input_tokens":10,"input_tokens_details":{"cached_tokens":0},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d}`, tokens, 10+tokens)
}

func responsesDocument(model, status, output, usage string) string {
	return fmt.Sprintf(`{"id":"resp_1","object":"response","created_at":1700000000,"status":"%s","error":null,"incomplete_details":null,"instructions":"You are terse.","max_output_tokens":null,"model":%q,"output":%s,"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":false,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":%s,"metadata":{}}`, status, model, output, usage)
}

func messagesDocument(model, content, stopReason string, tokens int) string {
	return fmt.Sprintf(`{"id":"msg_1","type":"message","role":"assistant","model":%q,"content":%s,"stop_reason":%s,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":%d}}`, model, content, stopReason, tokens)
}
