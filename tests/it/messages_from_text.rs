//! Messages from text, by the descriptors: `parent=centers/C1 amount.currency_code=CNY amount.amount=1`.

use custody_ledger::proto::FILE_DESCRIPTOR_SET;
use prost::{Message as _, encoding};
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

/// What the descriptors say.
pub struct Descriptors(FileDescriptorSet);

impl Descriptors {
    pub fn read() -> Descriptors {
        Descriptors(FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap())
    }

    /// `Service/Method` and the request message of every method.
    pub fn methods(&self) -> Vec<(String, &DescriptorProto)> {
        let services = self.0.file.iter().flat_map(|file| &file.service);
        let methods = services.flat_map(|service| service.method.iter().map(move |method| (service.name(), method)));
        methods
            .map(|(service, method)| {
                let name = format!("{service}/{}", method.name());
                (name, self.message(method.input_type()))
            })
            .collect()
    }

    fn message(&self, type_name: &str) -> &DescriptorProto {
        let name = type_name.rsplit('.').next().unwrap();
        let mut messages = self.0.file.iter().flat_map(|file| &file.message_type);
        messages.find(|message| message.name() == name).expect(name)
    }

    /// The request of a method with fields told by their paths. Fields of one message stand together; of a repeated field
    /// there is one element.
    pub fn request(&self, method: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let methods = self.methods();
        let (_, message) = methods.iter().find(|(name, _)| name == method).expect(method);
        self.encode(message, fields)
    }

    fn encode(&self, message: &DescriptorProto, mut fields: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((path, value)) = fields.first() {
            let name = path.split('.').next().unwrap();
            let descriptor = message.field.iter().find(|field| field.name() == name).expect(path);
            let number = u32::try_from(descriptor.number()).unwrap();
            let count = fields
                .iter()
                .take_while(|(path, _)| path.split('.').next() == Some(name))
                .count();
            match descriptor.r#type() {
                Type::String => encoding::string::encode(number, &(*value).to_owned(), &mut bytes),
                Type::Bytes => encoding::bytes::encode(number, &value.as_bytes().to_vec(), &mut bytes),
                Type::Int32 | Type::Int64 | Type::Enum => {
                    encoding::int64::encode(number, &value.parse().unwrap(), &mut bytes);
                }
                Type::Message => {
                    let inner: Vec<(&str, &str)> = fields[..count]
                        .iter()
                        .map(|(path, value)| (path.split_once('.').expect(path).1, *value))
                        .collect();
                    let inner = self.encode(self.message(descriptor.type_name()), &inner);
                    encoding::bytes::encode(number, &inner, &mut bytes);
                }
                other => panic!("{path}: {other:?} cannot be told as text"),
            }
            fields = &fields[count..];
        }
        bytes
    }
}
