// The @anthropic-ai/sdk library: Messages.

import Anthropic from "@anthropic-ai/sdk";

import { CITY, TOOL_NAME, TOOL_USE, answerAll, weather } from "./asking.mjs";

async function answer(endpoint, task) {
  const timeout = task.idle_limit_s === null ? {} : { timeout: task.idle_limit_s * 1000 };
  const client = new Anthropic({ baseURL: endpoint.root, apiKey: endpoint.key, ...timeout });
  const content = [{ type: "text", text: task.prompt }];
  if (task.image) {
    const source = { type: "base64", media_type: "image/png", data: task.image };
    content.push({ type: "image", source });
  }
  const messages = [{ role: "user", content }];
  const tools = task.tool
    ? { tools: [{ name: TOOL_NAME, description: TOOL_USE, input_schema: CITY }] }
    : {};
  for (;;) {
    const asked = { model: task.model, max_tokens: 1000, messages, ...tools };
    const message = task.stream
      ? await client.messages.stream(asked).finalMessage()
      : await client.messages.create(asked);
    const calls = message.content.filter((block) => block.type === "tool_use");
    if (!calls.length) {
      return message.content
        .filter((block) => block.type === "text")
        .map((block) => block.text)
        .join("");
    }
    const results = calls.map((call) => ({
      type: "tool_result",
      tool_use_id: call.id,
      content: weather(call.input.city),
    }));
    messages.push({ role: "assistant", content: message.content });
    messages.push({ role: "user", content: results });
  }
}

await answerAll(answer);
