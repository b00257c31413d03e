// The openai library: Chat and Responses.

import OpenAI from "openai";

import { CITY, TOOL_NAME, TOOL_USE, answerAll, dataUrl, weather } from "./asking.mjs";

const FUNCTION = { name: TOOL_NAME, description: TOOL_USE, parameters: CITY, strict: true };
const FRONTS = { chat, responses };

async function answer(endpoint, task) {
  const timeout = task.idle_limit_s === null ? {} : { timeout: task.idle_limit_s * 1000 };
  const client = new OpenAI({ baseURL: endpoint.v1, apiKey: endpoint.key, ...timeout });
  return FRONTS[task.protocol](client, task);
}

async function chat(client, task) {
  const content = [{ type: "text", text: task.prompt }];
  if (task.image) content.push({ type: "image_url", image_url: { url: dataUrl(task.image) } });
  const messages = [{ role: "user", content }];
  const tools = task.tool ? { tools: [{ type: "function", function: FUNCTION }] } : {};
  for (;;) {
    const asked = { model: task.model, messages, ...tools };
    const completion = task.stream
      ? await client.chat.completions.stream(asked).finalChatCompletion()
      : await client.chat.completions.create(asked);
    const { message } = completion.choices[0];
    if (!message.tool_calls?.length) return message.content ?? "";
    messages.push(message);
    for (const call of message.tool_calls) {
      const { city } = JSON.parse(call.function.arguments);
      messages.push({ role: "tool", tool_call_id: call.id, content: weather(city) });
    }
  }
}

async function responses(client, task) {
  const content = [{ type: "input_text", text: task.prompt }];
  if (task.image) {
    content.push({ type: "input_image", image_url: dataUrl(task.image), detail: "auto" });
  }
  const input = [{ role: "user", content }];
  const tools = task.tool ? { tools: [{ type: "function", ...FUNCTION }] } : {};
  for (;;) {
    const asked = { model: task.model, input, store: false, ...tools };
    const response = task.stream
      ? await client.responses.stream(asked).finalResponse()
      : await client.responses.create(asked);
    // The library does not raise what a stream says about its own failure.
    if (response.error) throw new Error(response.error.message);
    const calls = response.output.filter((item) => item.type === "function_call");
    if (!calls.length) return response.output_text;
    input.push(...response.output);
    for (const call of calls) {
      const { city } = JSON.parse(call.arguments);
      input.push({ type: "function_call_output", call_id: call.call_id, output: weather(city) });
    }
  }
}

await answerAll(answer);
