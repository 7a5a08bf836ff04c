//! A gRPC client that knows no `.proto` file: it learns services and messages by reflection and
//! encodes requests field by field.

use std::collections::BTreeMap;

use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use prost_types::{DescriptorProto, FileDescriptorProto};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Learns and calls.
pub struct Generic {
    channel: Channel,
    files: BTreeMap<String, FileDescriptorProto>,
}

impl Generic {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> Generic {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
        Generic {
            channel: endpoint
                .connect()
                .await
                .expect("the server accepts connections"),
            files: BTreeMap::new(),
        }
    }

    /// Full names of the services.
    pub async fn services(&self) -> Vec<String> {
        match self
            .reflect(MessageRequest::ListServices(String::new()))
            .await
        {
            MessageResponse::ListServicesResponse(list) => {
                list.service.into_iter().map(|s| s.name).collect()
            }
            other => panic!("list services: {other:?}"),
        }
    }

    /// Fetches the file that declares a symbol, and all files that it needs.
    pub async fn learn(&mut self, symbol: &str) {
        let first = MessageRequest::FileContainingSymbol(symbol.to_owned());
        let mut wanted = self.fetch(first).await;
        while let Some(name) = wanted.pop() {
            if !self.files.contains_key(&name) {
                wanted.extend(self.fetch(MessageRequest::FileByFilename(name)).await);
            }
        }
    }

    async fn fetch(&mut self, request: MessageRequest) -> Vec<String> {
        let MessageResponse::FileDescriptorResponse(answer) = self.reflect(request).await else {
            panic!("no file descriptor");
        };
        let mut needed = Vec::new();
        for bytes in answer.file_descriptor_proto {
            let file = FileDescriptorProto::decode(bytes.as_slice()).expect("a file descriptor");
            needed.extend(file.dependency.clone());
            self.files.insert(file.name().to_owned(), file);
        }
        needed
    }

    async fn reflect(&self, request: MessageRequest) -> MessageResponse {
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let answers = client
            .server_reflection_info(tokio_stream::once(request))
            .await;
        let mut answers = answers.expect("reflection is offered").into_inner();
        let answer = answers
            .message()
            .await
            .expect("an answer")
            .expect("one answer");
        answer.message_response.expect("an answer with content")
    }

    /// Calls a unary method with string fields by name; gives the answer's fields by name, each as
    /// its raw bytes (varints as eight bytes, little endian).
    pub async fn call(
        &self,
        service: &str,
        method: &str,
        fields: &[(&str, &str)],
    ) -> Result<BTreeMap<String, Vec<Bytes>>, Status> {
        let (input, output) = self.method(service, method);
        let message = encode(self.message(&input), fields);
        let path = format!("/{service}/{method}");
        let path = path.parse().expect("a method path");
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.expect("the channel is ready");
        let answer = client.unary(Request::new(message), path, Raw).await?;
        Ok(decode(self.message(&output), answer.into_inner()))
    }

    fn method(&self, service: &str, method: &str) -> (String, String) {
        for file in self.files.values() {
            for declared in &file.service {
                if format!("{}.{}", file.package(), declared.name()) != service {
                    continue;
                }
                let found = declared.method.iter().find(|m| m.name() == method);
                let found = found.unwrap_or_else(|| panic!("{service} has no {method}"));
                return (
                    found.input_type().to_owned(),
                    found.output_type().to_owned(),
                );
            }
        }
        panic!("{service} was not learned");
    }

    /// A top-level message by its full name with a leading dot.
    fn message(&self, name: &str) -> &DescriptorProto {
        let of = |file: &FileDescriptorProto, message: &DescriptorProto| {
            format!(".{}.{}", file.package(), message.name()) == name
        };
        let found = self
            .files
            .values()
            .find_map(|file| file.message_type.iter().find(|message| of(file, message)));
        found.unwrap_or_else(|| panic!("{name} was not learned"))
    }
}

fn encode(message: &DescriptorProto, fields: &[(&str, &str)]) -> Bytes {
    let mut out = Vec::new();
    for (name, value) in fields {
        let field = message.field.iter().find(|f| f.name() == *name);
        let field = field.unwrap_or_else(|| panic!("{} has no {name}", message.name()));
        prost::encoding::string::encode(field.number() as u32, &(*value).to_owned(), &mut out);
    }
    out.into()
}

fn decode(message: &DescriptorProto, mut bytes: Bytes) -> BTreeMap<String, Vec<Bytes>> {
    let mut fields: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    while bytes.has_remaining() {
        let (number, wire) = prost::encoding::decode_key(&mut bytes).expect("a field key");
        let value = match wire {
            prost::encoding::WireType::Varint => {
                let value = prost::encoding::decode_varint(&mut bytes).expect("a varint");
                Bytes::copy_from_slice(&value.to_le_bytes())
            }
            prost::encoding::WireType::LengthDelimited => {
                let length = prost::encoding::decode_varint(&mut bytes).expect("a length");
                bytes.split_to(length as usize)
            }
            other => panic!("wire type {other:?} is not expected here"),
        };
        let field = message.field.iter().find(|f| f.number() as u32 == number);
        let name = field
            .map(|f| f.name().to_owned())
            .unwrap_or_else(|| number.to_string());
        fields.entry(name).or_default().push(value);
    }
    fields
}

/// Passes encoded messages through.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = source.remaining();
        Ok(Some(source.copy_to_bytes(length)))
    }
}
